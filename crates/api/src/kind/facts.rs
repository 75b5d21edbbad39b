//! What a kind is called and what it can: the plain facts.

use std::sync::Arc;

use super::{BuiltIn, Column, Conversion, Gvk, Hooks, Kind, Review, Subresource};
use crate::kinds;
use crate::managed_fields::fieldset::FieldSet;
use crate::meta::names::NameRule;
use crate::schema::{self, Schema};

impl Kind {
    fn built_in(&self) -> &'static BuiltIn {
        let Self::BuiltIn(built_in) = self;
        built_in
    }

    fn slot(&self) -> &'static kinds::Slot {
        kinds::slot(self.built_in())
    }

    pub(super) fn hooks(&self) -> &'static Hooks {
        &self.built_in().hooks
    }

    pub(super) fn conversion(&self) -> Option<&'static Conversion> {
        self.built_in().conversion.as_ref()
    }

    /// API group, empty for the core group.
    pub fn group(&self) -> &str {
        self.built_in().group
    }

    /// Version.
    pub fn version(&self) -> &str {
        self.built_in().version
    }

    /// Kind, such as `Deployment`.
    pub fn kind(&self) -> &str {
        self.built_in().kind
    }

    /// URL segment, such as `deployments`.
    pub fn plural(&self) -> &str {
        self.built_in().plural
    }

    /// As people type it, such as `deployment`.
    pub fn singular(&self) -> &str {
        self.built_in().singular
    }

    /// Such as `deploy`.
    pub fn short_names(&self) -> Vec<&str> {
        self.built_in().short_names.to_vec()
    }

    /// Such as `all`.
    pub fn categories(&self) -> Vec<&str> {
        self.built_in().categories.to_vec()
    }

    /// Whether objects live in a namespace.
    pub fn namespaced(&self) -> bool {
        self.built_in().namespaced
    }

    /// Resources below an object.
    pub fn subresources(&self) -> &[Subresource] {
        self.built_in().subresources
    }

    /// Columns of the Table answer.
    pub fn columns(&self) -> &[Column] {
        self.built_in().columns
    }

    /// Selectable fields beyond `metadata.name` and `metadata.namespace`.
    pub fn selectable(&self) -> impl Iterator<Item = &str> {
        self.built_in().selectable.iter().copied()
    }

    /// Rule of `metadata.name`.
    pub fn name_rule(&self) -> NameRule {
        self.built_in().name_rule
    }

    /// Whether `metadata.generation` counts changes outside of metadata and status.
    pub fn counts_generation(&self) -> bool {
        self.built_in().counts_generation
    }

    /// Whether a delete waits for a grace period (pods).
    pub fn graceful_delete(&self) -> bool {
        self.built_in().graceful_delete
    }

    /// Whether a PUT on an absent name creates (upstream's `AllowCreateOnUpdate`).
    pub fn create_on_update(&self) -> bool {
        self.built_in().create_on_update
    }

    /// Whether a PUT without resourceVersion overwrites (upstream's `AllowUnconditionalUpdate`).
    pub fn unconditional_update(&self) -> bool {
        self.built_in().unconditional_update
    }

    /// Whether a create may carry a status (nodes).
    pub fn status_on_create(&self) -> bool {
        self.built_in().status_on_create
    }

    /// Its objects are questions: created and answered, never stored.
    pub fn review(&self) -> Option<Review> {
        self.built_in().review
    }

    /// The resource id used in state keys and messages: `pods`, `deployments.apps`. All versions of a kind share it.
    pub fn resource(&self) -> &Arc<str> {
        &self.stored().slot().resource
    }

    /// `v1`, `apps/v1`.
    pub fn api_version(&self) -> &str {
        &self.slot().api_version
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
        format!("{}List", self.kind())
    }

    /// Its schema, compiled at first use.
    pub fn schema(&self) -> &Schema {
        let made = &self.slot().schema;
        made.get_or_init(|| schema::compile(self.built_in()))
    }

    /// What a write of the status leaves as it was, made at first use.
    pub(crate) fn reset_by_status(&self) -> &FieldSet {
        let made = &self.slot().status_resets;
        made.get_or_init(|| FieldSet::of_fields(self.built_in().status_resets))
    }
}
