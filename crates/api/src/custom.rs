//! Kinds that users define (`CustomResourceDefinition`): one `CustomKind` for each served version, made of the stored
//! definition and never changed. With another definition comes another `CustomKind`; the old one goes with its last
//! user, so that nothing piles up.
//!
//! Objects are worked on in the version that a request names, are checked by that version's schema, and are made the
//! stored version's at last.
//!
//! Not here: the kind `CustomResourceDefinition` itself (`kinds/`), the list of all kinds (`registry`).

use std::sync::Arc;

use serde_json::{Value, json};

use crate::field_error::FieldError;
use crate::kind::{Kind, Subresource};
use crate::managed_fields::fieldset::FieldSet;
use crate::meta::{self, Meta};
use crate::schema::Schema;

mod columns;
mod default;
mod embedded;
mod family;
mod formats;
pub(crate) mod json_path;
mod lists;
pub(crate) mod naming;
mod openapi;
mod prune;
pub(crate) mod rules;
mod scale;
mod shape;
pub(crate) mod structural;
mod validate;
pub(crate) mod versions;

pub(crate) use default::default as default_by;
pub use family::Definition;
pub(crate) use family::{Family, kinds_of};
pub use naming::{Conditions, conditions_of, set_terminating};
pub(crate) use openapi::schema_name;
pub(crate) use prune::prune;
pub(crate) use validate::validate as validate_by;

use columns::PrinterColumn;
use rules::Rules;
use scale::ScalePaths;
use structural::Structural;

/// The resource of definitions.
pub const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";
/// The finalizer that holds a definition until its objects are gone.
pub const CLEANUP_FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// One version of a kind that a user defined.
#[derive(Debug)]
pub struct CustomKind {
    /// What all versions share.
    pub(crate) definition: Arc<Definition>,
    pub(crate) version: Box<str>,
    pub(crate) api_version: String,
    pub(crate) subresources: Vec<Subresource>,
    pub(crate) selectable: Vec<Box<str>>,
    pub(crate) schema: Schema,
    pub(crate) status_resets: FieldSet,
    /// The version that is stored, when it is another one.
    pub(crate) stored: Option<Kind>,
    /// What to tell who uses a version that is going away.
    pub(crate) deprecation: Option<String>,
    /// As the definition has it, for OpenAPI.
    pub(crate) published: Value,
    structural: Structural,
    columns: Vec<PrinterColumn>,
    scale: Option<ScalePaths>,
    rules: Rules,
}

impl CustomKind {
    pub(crate) fn has_status(&self) -> bool {
        self.subresources.contains(&Subresource::Status)
    }

    /// Decodes: prunes what the schema doesn't name and answers its paths, or says what cannot be.
    pub(crate) fn check(&self, object: &mut Value) -> Result<Vec<String>, String> {
        let mut unknown = embedded::check_metadata(&self.definition.kind, object)?;
        unknown.extend(embedded::check(&self.structural, object)?);
        unknown.extend(prune::prune(&self.structural, object));
        Ok(unknown)
    }

    pub(crate) fn default(&self, object: &mut Value) {
        default::default(&self.structural, object);
    }

    /// Counts the generation: of all but the metadata, and the status where that is written apart.
    pub(crate) fn count_generation(&self, new: &mut Value, old: &Value) {
        let counted =
            |field: &str| field != "metadata" && !(self.has_status() && field == "status");
        fn fields(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
            object.as_object().into_iter().flatten()
        }
        let counts = |(field, _): &(&String, &Value)| counted(field);
        if !fields(new).filter(counts).eq(fields(old).filter(counts)) {
            let generation = Meta::of(old).generation() + 1;
            meta::metadata_mut(new).insert("generation".to_owned(), generation.into());
        }
    }

    /// The rules beyond metadata that an object breaks.
    pub(crate) fn validate(&self, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut errors = validate::validate(&self.structural, new, old);
        if let Some(scale) = &self.scale {
            errors.extend(scale.validate(new));
        }
        errors.extend(embedded::validate(&self.structural, new));
        let was_sound = |old: &Value| lists::validate(&self.structural, old, "").is_empty();
        if old.is_none_or(was_sound) {
            errors.extend(lists::validate(&self.structural, new, ""));
        }
        if self.rules.is_empty() {
            return errors;
        }
        if errors.iter().any(rules::is_blocking) {
            errors.push(rules::unchecked());
        } else {
            errors.extend(self.rules.validate(new, old));
        }
        errors
    }

    pub(crate) fn columns(&self) -> Value {
        columns::definitions(&self.columns)
    }

    pub(crate) fn n_columns(&self) -> usize {
        self.columns.len() + 1
    }

    pub(crate) fn row(&self, object: &Value, now_unix_ms: u64) -> Vec<Value> {
        columns::row(&self.columns, object, now_unix_ms)
    }

    /// The selectable fields of an object of this version.
    pub(crate) fn fields(&self, object: &Value) -> Vec<(&str, String)> {
        let value = |path: &str| {
            let found = path
                .split('.')
                .try_fold(object, |value, step| value.get(step));
            match found {
                Some(Value::String(text)) => text.clone(),
                Some(value @ (Value::Bool(_) | Value::Number(_))) => value.to_string(),
                _ => String::new(),
            }
        };
        let all = self.selectable.iter();
        all.map(|path| (&**path, value(path))).collect()
    }

    /// Whether stored bytes of that revision are what a read in this version shows: written since the definition was,
    /// and in this version.
    pub(crate) fn shows_as_stored(&self, revision: u64) -> bool {
        self.stored.is_none() && revision > self.definition.revision
    }

    /// Makes a stored object what a read in this version shows.
    pub(crate) fn read(&self, object: &mut Value) {
        object["apiVersion"] = json!(self.api_version);
        prune::prune(&self.structural, object);
        self.default(object);
    }

    /// Makes an object of any version one to store.
    pub(crate) fn write(&self, object: &mut Value) {
        if let Some(Kind::Custom(stored)) = &self.stored {
            object["apiVersion"] = json!(stored.api_version);
            prune::prune(&stored.structural, object);
        }
    }

    /// The Scale of an object.
    pub(crate) fn scale_of(&self, object: &Value) -> Result<Value, String> {
        match &self.scale {
            Some(scale) => scale.of(object),
            None => Err("it has no scale".to_owned()),
        }
    }

    /// Writes a Scale back into its object.
    pub(crate) fn apply_scale(
        &self,
        object: &mut Value,
        scale: &Value,
    ) -> Result<(), Vec<FieldError>> {
        match &self.scale {
            Some(paths) => paths.apply(object, scale),
            None => Ok(()),
        }
    }
}
