//! A kind that is known when the server is built: plain data and functions, one static a kind (`kinds/`).
//!
//! Not here: what all kinds do alike (`kind.rs`), and kinds that users define (`custom`).

use k8s_openapi::Resource;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::Value;

use super::{Column, Conversion, Review, Subresource};
use crate::admission::{Admission, Denied};
use crate::field_error::FieldError;
use crate::meta::names::NameRule;
use crate::meta::{self, StatusMetadata};

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
    /// Before an update of a part of the spec `(part, kept, sent)`: takes over into the kept object what of the sent one
    /// belongs to the part.
    pub prepare_part: fn(Subresource, &mut Value, &mut Value),
    /// What a deletion that has begun makes of the object, besides its time: `(object, now)`.
    pub prepare_delete: fn(&mut Value, &str),
    /// Rules beyond metadata: `(new, old)`; `old` is `None` for a create.
    pub validate: fn(&Value, Option<&Value>) -> Vec<FieldError>,
    /// Rules of a status update beyond metadata: `(new, old)`.
    pub validate_status: fn(&Value, &Value) -> Vec<FieldError>,
    /// Rules of an approval beyond metadata: `(new, old)`.
    pub validate_approval: fn(&Value, &Value) -> Vec<FieldError>,
    /// Rules of an update of a part of the spec `(part, new, old)` beyond metadata.
    pub validate_part: fn(Subresource, &Value, &Value) -> Vec<FieldError>,
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
        prepare_part: |_, _, _| (),
        prepare_delete: |_, _| (),
        validate: |_, _| Vec::new(),
        validate_status: |_, _| Vec::new(),
        validate_approval: |_, _| Vec::new(),
        validate_part: |_, _, _| Vec::new(),
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

/// One kind in one version, known when the server is built. A file in `kinds/` makes it with `..BuiltIn::of::<TheType>()`.
#[derive(Clone, Copy)]
pub struct BuiltIn {
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
    /// What a write of the status may say about metadata.
    pub status_metadata: StatusMetadata,
    /// Set for a version that is served but not stored. All of its hooks but `default` then see the stored version;
    /// `row` and `fields` are the stored kind's.
    pub conversion: Option<Conversion>,
    /// Its objects are created to be answered or done at once, and never stored.
    pub review: Option<Review>,
    /// Its objects are looked up when they are read: nobody writes them and nothing is stored.
    pub observed: bool,
    /// What to tell whoever uses it, when it is going away.
    pub deprecation: Option<&'static str>,
    /// What the kind does of its own.
    pub hooks: Hooks,
    /// Root of its schema.
    pub definition: fn(&mut SchemaGenerator) -> schemars::Schema,
}

impl BuiltIn {
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
            status_metadata: StatusMetadata::SentBut(&[]),
            conversion: None,
            review: None,
            observed: false,
            deprecation: None,
            hooks: Hooks::NONE,
            definition: |generator| generator.subschema_for::<T>(),
        }
    }
}
