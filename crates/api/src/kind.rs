//! `Kind`: all that the rest of the system knows of one kind, as data and functions.
//!
//! What each kind does of its own stands in `Hooks`; what all kinds do alike (metadata, status reset, generation)
//! is done here, once. Not here: names of kinds.

use std::sync::{Arc, OnceLock};

use k8s_openapi::Resource;
use kontiki_base::status::Status;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::Value;

use crate::admission::{Admission, Denied};
use crate::field_error::{FieldError, invalid_status};
use crate::kinds;
use crate::managed_fields::fieldset::FieldSet;
use crate::meta::names::NameRule;
use crate::meta::{self, Meta};
use crate::schema::{self, Schema};

mod conversion;

pub use conversion::Conversion;

/// Group, version and kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Gvk {
    /// API group, empty for the core group.
    pub group: &'static str,
    /// Version, such as `v1`.
    pub version: &'static str,
    /// Kind, such as `Deployment`.
    pub kind: &'static str,
}

/// A resource below an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subresource {
    /// `status`.
    Status,
    /// `scale` (autoscaling/v1 Scale).
    Scale,
    /// `binding` (pods).
    Binding,
    /// `eviction` (pods, policy/v1 Eviction).
    Eviction,
    /// `log` (pods, plain text).
    Log,
    /// `finalize` (namespaces).
    Finalize,
    /// `approval` (certificate signing requests).
    Approval,
    /// `token` (service accounts, authentication.k8s.io/v1 TokenRequest).
    Token,
}

impl Subresource {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Status,
        Self::Scale,
        Self::Binding,
        Self::Eviction,
        Self::Log,
        Self::Finalize,
        Self::Approval,
        Self::Token,
    ];

    /// The last segment of its URL.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Scale => "scale",
            Self::Binding => "binding",
            Self::Eviction => "eviction",
            Self::Log => "log",
            Self::Finalize => "finalize",
            Self::Approval => "approval",
            Self::Token => "token",
        }
    }

    /// The subresource of that URL segment.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|subresource| subresource.name() == name)
    }

    /// Verbs served, as discovery lists them.
    pub const fn verbs(self) -> &'static [&'static str] {
        match self {
            Self::Status | Self::Scale | Self::Approval => &["get", "patch", "update"],
            Self::Binding | Self::Eviction | Self::Token => &["create"],
            Self::Log => &["get"],
            Self::Finalize => &["update"],
        }
    }
}

/// A question that is asked by a create, answered at once and never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Review {
    /// Whose token is this?
    Token,
    /// Who am I?
    Myself,
    /// May this user do that?
    Access,
    /// May this user do that in this namespace?
    LocalAccess,
    /// May I do that?
    SelfAccess,
    /// What may I do in this namespace?
    SelfRules,
}

/// A column of `kubectl get`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Heading.
    pub name: &'static str,
    /// `string`, `integer`, ...
    pub kind: &'static str,
    /// `name` for the first column, else empty.
    pub format: &'static str,
    /// What it shows.
    pub description: &'static str,
    /// 0, or 1 for `-o wide` only.
    pub priority: i32,
}

impl Column {
    /// The object's name, the first column of every kind.
    pub const NAME: Self = Self {
        name: "Name",
        kind: "string",
        format: "name",
        description: meta::NAME_DESCRIPTION,
        priority: 0,
    };
    /// The object's age, mostly the last narrow column.
    pub const AGE: Self = Self {
        name: "Age",
        kind: "string",
        format: "",
        description: meta::AGE_DESCRIPTION,
        priority: 0,
    };

    /// A text column.
    pub const fn text(name: &'static str, description: &'static str) -> Self {
        Self {
            name,
            kind: "string",
            format: "",
            description,
            priority: 0,
        }
    }

    /// A column of another type, such as `integer`.
    pub const fn typed(name: &'static str, kind: &'static str, description: &'static str) -> Self {
        Self {
            name,
            kind,
            format: "",
            description,
            priority: 0,
        }
    }

    /// The same, for `-o wide` only.
    pub const fn wide(self) -> Self {
        Self {
            priority: 1,
            ..self
        }
    }
}

/// Admission of an object: `(new, old, the request and the other objects)`.
pub type Admit = fn(&mut Value, Option<&Value>, &Admission<'_>) -> Result<(), Denied>;

/// What a kind does of its own. `Hooks::NONE` does nothing.
#[derive(Clone, Copy)]
pub struct Hooks {
    /// Fills in defaults.
    pub default: fn(&mut Value),
    /// Admission that looks beyond the object `(new, old)`: at the request and at other objects. Of a create before
    /// `prepare_create`, of an update before `prepare_update` and the preparations of subresources.
    pub admit: Admit,
    /// Whether the object may be deleted.
    pub admit_delete: fn(&Value) -> Result<(), Denied>,
    /// Before a create, after the common steps: fields that a user may not set.
    pub prepare_create: fn(&mut Value),
    /// Before an update `(new, old)`, after the common steps: fields that keep their old value.
    pub prepare_update: fn(&mut Value, &Value),
    /// Before an update of the status subresource `(new, old)`, after the common steps.
    pub prepare_status: fn(&mut Value, &Value),
    /// Before an update of the approval subresource `(new, old)`, after the steps common with the status.
    pub prepare_approval: fn(&mut Value, &Value),
    /// Rules beyond metadata: `(new, old)`; `old` is `None` for a create.
    pub validate: fn(&Value, Option<&Value>) -> Vec<FieldError>,
    /// Rules of a status update beyond metadata: `(new, old)`.
    pub validate_status: fn(&Value, &Value) -> Vec<FieldError>,
    /// Rules of an approval beyond metadata: `(new, old)`.
    pub validate_approval: fn(&Value, &Value) -> Vec<FieldError>,
    /// Warnings for the client, of a create or update `(new, old)`.
    pub warnings: fn(&Value, Option<&Value>) -> Vec<String>,
    /// Table cells, one for each of the kind's columns: `(object, now in unix ms)`.
    pub row: fn(&Value, u64) -> Vec<Value>,
    /// Selectable fields beyond `metadata.name` and `metadata.namespace`, in the order of `Kind::selectable`.
    pub fields: fn(&Value) -> Vec<(&'static str, String)>,
}

impl Hooks {
    /// Hooks that do nothing; rows of name and age.
    pub const NONE: Self = Self {
        default: |_| (),
        admit: |_, _, _| Ok(()),
        admit_delete: |_| Ok(()),
        prepare_create: |_| (),
        prepare_update: |_, _| (),
        prepare_status: |_, _| (),
        prepare_approval: |_, _| (),
        validate: |_, _| Vec::new(),
        validate_status: |_, _| Vec::new(),
        validate_approval: |_, _| Vec::new(),
        warnings: |_, _| Vec::new(),
        row: |object, now_unix_ms| {
            vec![
                crate::table::name(object),
                crate::table::age(object, now_unix_ms),
            ]
        },
        fields: |_| Vec::new(),
    };
}

/// One kind in one version. A file in `kinds/` makes it with `..Kind::of::<TheType>()`.
#[derive(Clone, Copy)]
pub struct Kind {
    /// API group, empty for the core group.
    pub group: &'static str,
    /// Version.
    pub version: &'static str,
    /// Kind, such as `Deployment`.
    pub kind: &'static str,
    /// URL segment, such as `deployments`.
    pub plural: &'static str,
    /// As people type it, such as `deployment`.
    pub singular: &'static str,
    /// Such as `deploy`.
    pub short_names: &'static [&'static str],
    /// Such as `all`.
    pub categories: &'static [&'static str],
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// Resources below an object.
    pub subresources: &'static [Subresource],
    /// Columns of the Table answer.
    pub columns: &'static [Column],
    /// Selectable fields beyond `metadata.name` and `metadata.namespace`.
    pub selectable: &'static [&'static str],
    /// Rule of `metadata.name`.
    pub name_rule: NameRule,
    /// Whether `metadata.generation` counts changes outside of metadata and status.
    pub counts_generation: bool,
    /// Whether a delete waits for a grace period (pods).
    pub graceful_delete: bool,
    /// Whether a PUT on an absent name creates (upstream's `AllowCreateOnUpdate`).
    pub create_on_update: bool,
    /// Whether a PUT without resourceVersion overwrites (upstream's `AllowUnconditionalUpdate`).
    pub unconditional_update: bool,
    /// Whether a create may carry a status (nodes).
    pub status_on_create: bool,
    /// What a write of the status leaves as it was, hence nobody owns by one (upstream's `GetResetFields`).
    pub status_resets: &'static [&'static [&'static str]],
    /// Set for a version that is served but not stored. All of its hooks but `default` then see the stored version;
    /// `row` and `fields` are the stored kind's.
    pub conversion: Option<Conversion>,
    /// Its objects are questions: created and answered, never stored.
    pub review: Option<Review>,
    /// What the kind does of its own.
    pub hooks: Hooks,
    /// Root of its schema.
    pub definition: fn(&mut SchemaGenerator) -> schemars::Schema,
}

impl Kind {
    /// The names and the schema of a k8s-openapi type, all else at its most common.
    pub const fn of<T: Resource + JsonSchema>() -> Self {
        Self {
            group: T::GROUP,
            version: T::VERSION,
            kind: T::KIND,
            plural: T::URL_PATH_SEGMENT,
            singular: "",
            short_names: &[],
            categories: &[],
            namespaced: true,
            subresources: &[],
            columns: &[Column::NAME, Column::AGE],
            selectable: &[],
            name_rule: meta::names::subdomain,
            counts_generation: false,
            graceful_delete: false,
            create_on_update: false,
            unconditional_update: true,
            status_on_create: false,
            status_resets: &[&["spec"]],
            conversion: None,
            review: None,
            hooks: Hooks::NONE,
            definition: |generator| generator.subschema_for::<T>(),
        }
    }

    fn slot(&self) -> &'static kinds::Slot {
        kinds::slot(self.group, self.version, self.plural)
    }

    /// The resource id used in state keys and messages: `pods`, `deployments.apps`. All versions of a kind share it.
    pub fn resource(&self) -> &'static Arc<str> {
        &self.stored().slot().resource
    }

    /// `v1`, `apps/v1`.
    pub fn api_version(&self) -> &'static str {
        &self.slot().api_version
    }

    /// Group, version and kind.
    pub const fn gvk(&self) -> Gvk {
        Gvk {
            group: self.group,
            version: self.version,
            kind: self.kind,
        }
    }

    /// The kind of its lists, such as `PodList`.
    pub fn list_kind(&self) -> String {
        format!("{}List", self.kind)
    }

    /// Its schema, compiled at first use.
    pub fn schema(&self) -> &'static Schema {
        let slot = self.slot();
        slot.schema.get_or_init(|| schema::compile(self))
    }

    /// The set of `status_resets`, made at first use.
    pub(crate) fn reset_by_status(&self) -> &'static FieldSet {
        let made = &self.slot().status_resets;
        made.get_or_init(|| FieldSet::of_fields(self.status_resets))
    }

    /// Whether it has that subresource.
    pub fn has(&self, subresource: Subresource) -> bool {
        self.subresources.contains(&subresource)
    }

    /// Whether it has a status subresource.
    pub fn has_status(&self) -> bool {
        self.has(Subresource::Status)
    }

    /// Fills in defaults. Call after `schema::check`.
    pub fn default(&self, object: &mut Value) {
        (self.hooks.default)(object);
    }

    /// Admission that looks beyond the object; 403 with the reason when it may not be.
    pub fn admit(
        &self,
        new: &mut Value,
        old: Option<&Value>,
        admission: &Admission<'_>,
    ) -> Result<(), Denied> {
        (self.hooks.admit)(new, old, admission)
    }

    /// Whether an object may be deleted; 403 with the reason when not.
    pub fn admit_delete(&self, object: &Value) -> Result<(), Denied> {
        (self.hooks.admit_delete)(object)
    }

    /// Before a create: drops what a user may not set, starts the generation.
    pub fn prepare_create(&self, object: &mut Value) {
        if let Some(fields) = object.as_object_mut()
            && self.has_status()
            && !self.status_on_create
        {
            fields.remove("status");
        }
        meta::prepare_create(object, self.counts_generation);
        (self.hooks.prepare_create)(object);
    }

    /// Before an update: keeps the old status and what of metadata cannot change, counts the generation.
    pub fn prepare_update(&self, new: &mut Value, old: &Value) {
        if self.has_status() {
            copy_field(new, old, "status");
        }
        meta::prepare_update(new, old);
        (self.hooks.prepare_update)(new, old);
        if self.counts_generation {
            meta::count_generation(new, old);
        }
    }

    /// Before an update of the status subresource: all but the status (and managed fields) keeps its old value.
    pub fn prepare_status(&self, new: &mut Value, old: &Value) {
        meta::prepare_status(new, old);
        (self.hooks.prepare_status)(new, old);
    }

    /// Before an update of the approval subresource: all but the status (and managed fields) keeps its old value.
    pub fn prepare_approval(&self, new: &mut Value, old: &Value) {
        meta::prepare_status(new, old);
        (self.hooks.prepare_approval)(new, old);
    }

    /// Before an update of the finalize subresource: all but `spec.finalizers` keeps its old value.
    pub fn prepare_finalize(&self, new: &mut Value, old: &Value) {
        meta::prepare_finalize(new, old);
    }

    /// A decoding failure as the client reads it.
    pub fn decode_error(&self, error: &impl std::fmt::Display) -> Status {
        let Self { kind, version, .. } = self;
        let message =
            format!("{kind} in version \"{version}\" cannot be handled as a {kind}: {error}");
        Status::bad_request(message)
    }

    /// The answer of strict validation to unknown and duplicate fields.
    pub fn strict_error(&self, unknown: &[String], duplicate: &[String]) -> Status {
        let messages = schema::strict_messages(unknown, duplicate);
        self.decode_error(&format!("strict decoding error: {}", messages.join(", ")))
    }

    /// All broken rules of a create or update, metadata included.
    pub fn validate(&self, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut errors = match old {
            None => meta::validate(new, self.namespaced, self.name_rule),
            Some(old) => meta::validate_update(new, old),
        };
        errors.extend((self.hooks.validate)(new, old));
        errors
    }

    /// All broken rules of a status update, metadata included.
    pub fn validate_status(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate_update(new, old);
        errors.extend((self.hooks.validate_status)(new, old));
        errors
    }

    /// All broken rules of an approval, metadata included.
    pub fn validate_approval(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate_update(new, old);
        errors.extend((self.hooks.validate_approval)(new, old));
        errors
    }

    /// Warnings for the client.
    pub fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        (self.hooks.warnings)(new, old)
    }

    /// Table cells of one object.
    pub fn row(&self, object: &Value, now_unix_ms: u64) -> Vec<Value> {
        let cells = if self.is_stored() {
            (self.hooks.row)(object, now_unix_ms)
        } else {
            let mut stored = object.clone();
            self.to_stored(&mut stored);
            (self.stored().hooks.row)(&stored, now_unix_ms)
        };
        debug_assert_eq!(cells.len(), self.columns.len(), "{} columns", self.kind);
        cells
    }

    /// Selectable fields of a stored object beyond `metadata.name` and `metadata.namespace`.
    pub fn fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        (self.stored().hooks.fields)(object)
    }

    /// Whether a field selector may name `field`.
    pub fn can_select(&self, field: &str) -> bool {
        field == "metadata.name"
            || (self.namespaced && field == "metadata.namespace")
            || self.selectable.contains(&field)
    }

    /// The `Invalid` answer for broken rules of `object`.
    pub fn invalid(&self, object: &Value, errors: &[FieldError]) -> Status {
        let meta = Meta::of(object);
        let name = if meta.name().is_empty() {
            meta.generate_name()
        } else {
            meta.name()
        };
        invalid_status(self.group, self.kind, name, errors)
    }
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kind({}/{})", self.resource(), self.version)
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        self.gvk() == other.gvk()
    }
}

impl Eq for Kind {}

/// Sets a top-level field of `new` to what it is in `old`.
pub fn copy_field(new: &mut Value, old: &Value, field: &str) {
    let Some(fields) = new.as_object_mut() else {
        return;
    };
    match old.get(field) {
        Some(value) => {
            fields.insert(field.to_owned(), value.clone());
        }
        None => {
            fields.remove(field);
        }
    }
}

pub(crate) static SLOTS: OnceLock<Vec<kinds::Slot>> = OnceLock::new();
