//! Which objects a list or watch selects: by labels and by fields, both from the header, without decoding.

use std::sync::Arc;

use kontiki_api::Kind;
use kontiki_api::field_error::{FieldError, invalid_status};
use kontiki_api::selector::{FieldSelector, FieldTerm, LabelSelector, Lookup};
use kontiki_base::status::Status;
use kontiki_state::{INDEXED_FIELDS, Object};

use crate::options::Target;
use crate::versions;

/// The parsed selectors of a request.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    labels: LabelSelector,
    fields: FieldSelector,
    /// The target's name: a watch of one object.
    name: Option<String>,
    /// The kind, when its fields are read from objects and not from headers.
    reads: Option<Kind>,
}

impl Selection {
    pub(crate) fn parse(
        target: &Target,
        labels: Option<&str>,
        fields: Option<&str>,
    ) -> Result<Self, Status> {
        let labels = match labels.unwrap_or_default() {
            "" => LabelSelector::everything(),
            text => LabelSelector::parse(text).map_err(|error| {
                Status::bad_request(format!("unable to parse requirement: {error}"))
            })?,
        };
        let mut fields = FieldSelector::parse(fields.unwrap_or_default())
            .map_err(|error| Status::bad_request(error.to_string()))?;
        for term in &mut fields.terms {
            if !target.kind.can_select(&term.field) {
                return Err(Status::bad_request(unknown_field(target, &term.field)));
            }
            // Headers carry the names of the stored version.
            term.field = target.kind.stored_field(&term.field).to_owned();
        }
        let name = (!target.name.is_empty()).then(|| target.name.clone());
        let is_own = |term: &FieldTerm| !term.field.starts_with("metadata.");
        let reads = target.kind.definition().is_some() && fields.terms.iter().any(is_own);
        Ok(Self {
            labels,
            fields,
            name,
            reads: reads.then(|| target.kind.clone()),
        })
    }

    pub(crate) fn matches(&self, object: &Object) -> bool {
        self.name
            .as_deref()
            .is_none_or(|name| *object.key.name == *name)
            && (self.labels.is_everything() || self.labels.matches(&object.header.labels))
            && (self.fields.is_everything() || self.fields_match(object))
    }

    fn fields_match(&self, object: &Object) -> bool {
        let Some(kind) = &self.reads else {
            return self.fields.matches(&Fields(object));
        };
        let value = versions::read(kind, object);
        let mut fields = kind.custom_fields(&value).unwrap_or_default();
        fields.push(("metadata.name", object.key.name.to_string()));
        fields.push(("metadata.namespace", object.key.namespace.to_string()));
        self.fields.matches(&Read(fields))
    }

    pub(crate) fn is_everything(&self) -> bool {
        self.name.is_none() && self.labels.is_everything() && self.fields.is_everything()
    }

    /// Namespace and name, when only one object can be selected.
    pub(crate) fn single(&self, target: &Target) -> Option<(String, String)> {
        let name = self
            .name
            .as_deref()
            .or_else(|| self.fields.requires("metadata.name"))?;
        let namespace = match target.namespace.as_str() {
            "" if target.kind.namespaced() => self.fields.requires("metadata.namespace")?,
            namespace => namespace,
        };
        Some((namespace.to_owned(), name.to_owned()))
    }

    /// A term on a field that the store has an index of.
    pub(crate) fn indexed_field(&self) -> Option<(Arc<str>, Arc<str>)> {
        if self.reads.is_some() {
            return None;
        }
        INDEXED_FIELDS.iter().find_map(|field| {
            let value = self.fields.requires(field)?;
            Some((Arc::from(*field), Arc::from(value)))
        })
    }
}

/// Fields that were read from an object.
struct Read<'a>(Vec<(&'a str, String)>);

impl Lookup for Read<'_> {
    fn lookup(&self, field: &str) -> Option<&str> {
        let found = self.0.iter().find(|(name, _)| *name == field);
        found.map(|(_, value)| value.as_str())
    }
}

/// An object's selectable fields.
struct Fields<'a>(&'a Object);

impl Lookup for Fields<'_> {
    fn lookup(&self, field: &str) -> Option<&str> {
        match field {
            "metadata.name" => Some(&self.0.key.name),
            "metadata.namespace" => Some(&self.0.key.namespace),
            field => self.0.header.fields.lookup(field),
        }
    }
}

fn unknown_field(target: &Target, field: &str) -> String {
    if target.kind.selectable().is_empty() {
        format!(
            "\"{field}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        )
    } else {
        format!("field label not supported: {field}")
    }
}

/// 422 for a combination of list or watch options.
pub(crate) fn forbidden_option(option: &str, detail: &str) -> Status {
    let error = FieldError::forbidden(option, detail);
    invalid_status("meta.k8s.io", "ListOptions", "", &[error])
}
