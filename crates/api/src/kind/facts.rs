//! What a kind is called and what it can: the plain facts.

use std::sync::Arc;

use serde_json::Value;

use super::{BuiltIn, Column, Conversion, Gvk, Hooks, Kind, Review, Subresource};
use crate::custom::Definition;
use crate::kinds;
use crate::managed_fields::fieldset::FieldSet;
use crate::meta::{self, names::NameRule};
use crate::schema::{self, Schema};

impl Kind {
    fn built_in(&self) -> Option<&'static BuiltIn> {
        match self {
            Self::BuiltIn(built_in) => Some(built_in),
            Self::Custom(_) => None,
        }
    }

    pub(super) fn hooks(&self) -> &'static Hooks {
        self.built_in().map_or(&Hooks::NONE, |kind| &kind.hooks)
    }

    pub(super) fn conversion(&self) -> Option<&'static Conversion> {
        self.built_in()?.conversion.as_ref()
    }

    /// API group, empty for the core group.
    pub fn group(&self) -> &str {
        match self {
            Self::BuiltIn(kind) => kind.group,
            Self::Custom(kind) => &kind.definition.group,
        }
    }

    /// Version.
    pub fn version(&self) -> &str {
        match self {
            Self::BuiltIn(kind) => kind.version,
            Self::Custom(kind) => &kind.version,
        }
    }

    /// Kind, such as `Deployment`.
    pub fn kind(&self) -> &str {
        match self {
            Self::BuiltIn(kind) => kind.kind,
            Self::Custom(kind) => &kind.definition.kind,
        }
    }

    /// URL segment, such as `deployments`.
    pub fn plural(&self) -> &str {
        match self {
            Self::BuiltIn(kind) => kind.plural,
            Self::Custom(kind) => &kind.definition.plural,
        }
    }

    /// As people type it, such as `deployment`.
    pub fn singular(&self) -> &str {
        match self {
            Self::BuiltIn(kind) => kind.singular,
            Self::Custom(kind) => &kind.definition.singular,
        }
    }

    /// Such as `deploy`.
    pub fn short_names(&self) -> Vec<&str> {
        match self {
            Self::BuiltIn(kind) => kind.short_names.to_vec(),
            Self::Custom(kind) => borrowed(&kind.definition.short_names),
        }
    }

    /// Such as `all`.
    pub fn categories(&self) -> Vec<&str> {
        match self {
            Self::BuiltIn(kind) => kind.categories.to_vec(),
            Self::Custom(kind) => borrowed(&kind.definition.categories),
        }
    }

    /// Whether objects live in a namespace.
    pub fn namespaced(&self) -> bool {
        match self {
            Self::BuiltIn(kind) => kind.namespaced,
            Self::Custom(kind) => kind.definition.namespaced,
        }
    }

    /// Resources below an object.
    pub fn subresources(&self) -> &[Subresource] {
        match self {
            Self::BuiltIn(kind) => kind.subresources,
            Self::Custom(kind) => &kind.subresources,
        }
    }

    /// The `columnDefinitions` of the Table answer.
    pub fn columns(&self) -> Value {
        match self {
            Self::BuiltIn(kind) => kind.columns.iter().map(Column::definition).collect(),
            Self::Custom(kind) => kind.columns(),
        }
    }

    /// How many there are.
    pub fn n_columns(&self) -> usize {
        match self {
            Self::BuiltIn(kind) => kind.columns.len(),
            Self::Custom(kind) => kind.n_columns(),
        }
    }

    /// Selectable fields beyond `metadata.name` and `metadata.namespace`.
    pub fn selectable(&self) -> Vec<&str> {
        match self {
            Self::BuiltIn(kind) => kind.selectable.to_vec(),
            Self::Custom(kind) => borrowed(&kind.selectable),
        }
    }

    /// Rule of `metadata.name`.
    pub fn name_rule(&self) -> NameRule {
        self.built_in()
            .map_or(meta::names::subdomain, |kind| kind.name_rule)
    }

    /// Whether `metadata.generation` counts changes outside of metadata and status.
    pub fn counts_generation(&self) -> bool {
        self.built_in().is_none_or(|kind| kind.counts_generation)
    }

    /// Whether a delete waits for a grace period (pods).
    pub fn graceful_delete(&self) -> bool {
        self.built_in().is_some_and(|kind| kind.graceful_delete)
    }

    /// Whether a PUT on an absent name creates (upstream's `AllowCreateOnUpdate`).
    pub fn create_on_update(&self) -> bool {
        self.built_in().is_some_and(|kind| kind.create_on_update)
    }

    /// Whether a PUT without resourceVersion overwrites (upstream's `AllowUnconditionalUpdate`).
    pub fn unconditional_update(&self) -> bool {
        self.built_in()
            .is_some_and(|kind| kind.unconditional_update)
    }

    /// Whether a create may carry a status (nodes).
    pub fn status_on_create(&self) -> bool {
        self.built_in().is_some_and(|kind| kind.status_on_create)
    }

    /// Its objects are created to be answered or done at once, and never stored.
    pub fn review(&self) -> Option<Review> {
        self.built_in()?.review
    }

    /// Its objects are looked up when they are read, and never stored.
    pub fn is_observed(&self) -> bool {
        self.built_in().is_some_and(|kind| kind.observed)
    }

    /// The resource id used in state keys and messages: `pods`, `deployments.apps`. All versions of a kind share it.
    pub fn resource(&self) -> &Arc<str> {
        match self.stored() {
            Self::BuiltIn(kind) => &kinds::slot(kind).resource,
            Self::Custom(kind) => &kind.definition.resource,
        }
    }

    /// `v1`, `apps/v1`.
    pub fn api_version(&self) -> &str {
        match self {
            Self::BuiltIn(kind) => &kinds::slot(kind).api_version,
            Self::Custom(kind) => &kind.api_version,
        }
    }

    /// Group, version and kind.
    pub fn gvk(&self) -> Gvk<'_> {
        Gvk {
            group: self.group(),
            version: self.version(),
            kind: self.kind(),
        }
    }

    /// The kind of its lists, such as `PodList`.
    pub fn list_kind(&self) -> String {
        match self {
            Self::BuiltIn(kind) => format!("{}List", kind.kind),
            Self::Custom(kind) => kind.definition.list_kind.to_string(),
        }
    }

    /// Its schema, compiled at first use.
    pub fn schema(&self) -> &Schema {
        match self {
            Self::BuiltIn(kind) => {
                let made = &kinds::slot(kind).schema;
                made.get_or_init(|| schema::compile(kind))
            }
            Self::Custom(kind) => &kind.schema,
        }
    }

    /// What a write of the status leaves as it was, made at first use.
    pub(crate) fn reset_by_status(&self) -> &FieldSet {
        match self {
            Self::BuiltIn(kind) => {
                let made = &kinds::slot(kind).status_resets;
                made.get_or_init(|| FieldSet::of_fields(kind.status_resets))
            }
            Self::Custom(kind) => &kind.status_resets,
        }
    }

    /// Where users define it, the definition.
    pub fn definition(&self) -> Option<&Definition> {
        match self {
            Self::BuiltIn(_) => None,
            Self::Custom(kind) => Some(&kind.definition),
        }
    }

    /// What to tell whoever uses it, when it is going away.
    pub fn deprecation(&self) -> Option<&str> {
        match self {
            Self::BuiltIn(kind) => kind.deprecation,
            Self::Custom(kind) => kind.deprecation.as_deref(),
        }
    }
}

fn borrowed(texts: &[Box<str>]) -> Vec<&str> {
    texts.iter().map(|text| &**text).collect()
}
