//! From a stored definition to the kinds of its served versions.

use std::sync::Arc;

use serde_json::Value;

use super::rules::Rules;
use super::scale::ScalePaths;
use super::structural::Structural;
use super::{CustomKind, columns, shape};
use crate::kind::{Kind, Subresource};
use crate::managed_fields::fieldset::FieldSet;
use crate::meta::Meta;

/// What all versions of a kind that a user defined share.
#[derive(Debug)]
pub struct Definition {
    /// Uid of the stored definition.
    pub uid: Box<str>,
    /// Its name, which is the resource's id: `crontabs.stable.example.com`.
    pub resource: Arc<str>,
    /// Its revision: what was written later was written by its rules.
    pub revision: u64,
    /// API group.
    pub group: Box<str>,
    /// Kind, such as `CronTab`.
    pub kind: Box<str>,
    /// Kind of lists.
    pub list_kind: Box<str>,
    /// URL segment.
    pub plural: Box<str>,
    /// As people type it.
    pub singular: Box<str>,
    /// Short names.
    pub short_names: Vec<Box<str>>,
    /// Categories.
    pub categories: Vec<Box<str>>,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// Whether it is being deleted: no object is made any more.
    pub is_deleting: bool,
    /// `spec.conversion.webhook`, when a webhook makes one version of another.
    pub webhook: Option<Value>,
}

/// The kinds of a definition.
#[derive(Debug, Default)]
pub(crate) struct Family {
    /// Those that are served.
    pub(crate) served: Vec<Kind>,
    /// The one that is stored, served or not.
    pub(crate) stored: Option<Kind>,
}

impl Definition {
    fn of(object: &Value, revision: u64) -> Self {
        let (spec, accepted) = (&object["spec"], &object["status"]["acceptedNames"]);
        let text = |value: &Value| -> Box<str> { value.as_str().unwrap_or_default().into() };
        let texts = |value: &Value| -> Vec<Box<str>> {
            let all = value.as_array().into_iter().flatten();
            all.filter_map(Value::as_str).map(Into::into).collect()
        };
        let conversion = &spec["conversion"];
        let meta = Meta::of(object);
        Self {
            uid: meta.uid().into(),
            resource: meta.name().into(),
            revision,
            group: text(&spec["group"]),
            kind: text(&accepted["kind"]),
            list_kind: text(&accepted["listKind"]),
            plural: text(&spec["names"]["plural"]),
            singular: text(&accepted["singular"]),
            short_names: texts(&accepted["shortNames"]),
            categories: texts(&accepted["categories"]),
            namespaced: spec["scope"] == "Namespaced",
            is_deleting: meta.is_deleting(),
            webhook: (conversion["strategy"] == "Webhook").then(|| conversion["webhook"].clone()),
        }
    }
}

/// The kinds of a stored definition; none before it is established.
pub(crate) fn kinds_of(object: &Value, revision: u64) -> Family {
    let conditions = object["status"]["conditions"].as_array();
    let is_established = conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Established" && condition["status"] == "True");
    if !is_established {
        return Family::default();
    }
    let definition = Arc::new(Definition::of(object, revision));
    let versions = object["spec"]["versions"].as_array();
    let versions = || versions.into_iter().flatten();
    let make = |version: &Value, stored: Option<&Kind>| {
        let kind = CustomKind::of(&definition, version, stored.cloned());
        Kind::Custom(Arc::new(kind))
    };
    let stored = versions()
        .find(|version| version["storage"] == true)
        .map(|version| make(version, None));
    let served = versions().filter(|version| version["served"] == true);
    let served = served.map(|version| match &stored {
        Some(kind) if version["storage"] == true => kind.clone(),
        stored => make(version, stored.as_ref()),
    });
    Family {
        served: served.collect(),
        stored: stored.clone(),
    }
}

impl CustomKind {
    fn of(definition: &Arc<Definition>, version: &Value, stored: Option<Kind>) -> Self {
        let published = &version["schema"]["openAPIV3Schema"];
        let structural = Structural::of(published);
        let name = version["name"].as_str().unwrap_or_default();
        let api_version = format!("{}/{name}", definition.group);
        let subresources = [
            ("scale", Subresource::Scale),
            ("status", Subresource::Status),
        ];
        let subresources = subresources
            .into_iter()
            .filter(|(name, _)| version["subresources"][*name].is_object())
            .map(|(_, subresource)| subresource);
        let selectable = version["selectableFields"].as_array();
        let selectable = selectable.into_iter().flatten();
        let path = |field: &Value| Some(field["jsonPath"].as_str()?.trim_start_matches('.').into());
        let schema_name = super::schema_name(&definition.group, name, &definition.kind);
        Self {
            version: name.into(),
            subresources: subresources.collect(),
            selectable: selectable.filter_map(path).collect(),
            schema: shape::of_resource(&structural, &definition.kind, &schema_name),
            status_resets: status_resets(&structural),
            stored,
            deprecation: deprecation(version, &api_version, &definition.kind),
            published: published.clone(),
            columns: columns::of(version),
            scale: ScalePaths::of_version(version),
            rules: Rules::of(&structural),
            definition: Arc::clone(definition),
            api_version,
            structural,
        }
    }
}

/// All but the status and the metadata's own.
fn status_resets(schema: &Structural) -> FieldSet {
    let fields = schema.properties.keys();
    let fields =
        fields.filter(|name| !matches!(&***name, "status" | "metadata" | "apiVersion" | "kind"));
    let paths: Vec<[&str; 1]> = fields.map(|name| [&**name]).collect();
    let paths: Vec<&[&str]> = paths.iter().map(|path| &path[..]).collect();
    FieldSet::of_fields(&paths)
}

fn deprecation(version: &Value, api_version: &str, kind: &str) -> Option<String> {
    let told = version["deprecationWarning"].as_str();
    (version["deprecated"] == true).then(|| match told {
        Some(warning) => warning.to_owned(),
        None => format!("{api_version} {kind} is deprecated"),
    })
}
