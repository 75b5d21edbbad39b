//! `Kind`: a cheap handle on all that the rest of the system knows of one kind in one version.
//!
//! A kind is built in (`BuiltIn`, a static), or a user's (`docs/decisions/2026-11-25-custom-kinds.md`). What each kind
//! does of its own stands in `Hooks`; what all kinds do alike (metadata, status reset, generation) is done here, once.
//! Not here: names of kinds.

use std::sync::{Arc, OnceLock};

use kontiki_base::status::Status;
use serde_json::{Value, json};

use crate::admission::{Admission, Denied};
use crate::custom::CustomKind;
use crate::field_error::{FieldError, invalid_status};
use crate::kinds;
use crate::meta::{self, Meta, StatusMetadata};
use crate::schema;

mod built_in;
mod conversion;
mod facts;

pub use built_in::{Admit, BuiltIn, Hooks};
pub use conversion::Conversion;

/// One kind in one version. Cheap to clone.
#[derive(Clone)]
pub enum Kind {
    /// Known when the server is built.
    BuiltIn(&'static BuiltIn),
    /// Defined by a user.
    Custom(Arc<CustomKind>),
}

/// Group, version and kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Gvk<'a> {
    /// API group, empty for the core group.
    pub group: &'a str,
    /// Version, such as `v1`.
    pub version: &'a str,
    /// Kind, such as `Deployment`.
    pub kind: &'a str,
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
    /// `exec` (pods): a command in a container, its streams over an upgraded connection.
    Exec,
    /// `attach` (pods): the streams of a container's first process.
    Attach,
    /// `portforward` (pods): connections to ports of a pod.
    PortForward,
    /// `proxy` (pods, services, nodes): HTTP passed on.
    Proxy,
    /// `ephemeralcontainers` (pods).
    EphemeralContainers,
    /// `resize` (pods).
    Resize,
}

impl Subresource {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Status,
        Self::Scale,
        Self::Binding,
        Self::Eviction,
        Self::Log,
        Self::Finalize,
        Self::Approval,
        Self::Token,
        Self::Exec,
        Self::Attach,
        Self::PortForward,
        Self::Proxy,
        Self::EphemeralContainers,
        Self::Resize,
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
            Self::Exec => "exec",
            Self::Attach => "attach",
            Self::PortForward => "portforward",
            Self::Proxy => "proxy",
            Self::EphemeralContainers => "ephemeralcontainers",
            Self::Resize => "resize",
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
            Self::Status
            | Self::Scale
            | Self::Approval
            | Self::EphemeralContainers
            | Self::Resize => &["get", "patch", "update"],
            Self::Binding | Self::Eviction | Self::Token => &["create"],
            Self::Log => &["get"],
            Self::Finalize => &["update"],
            Self::Exec | Self::Attach | Self::PortForward => &["create", "get"],
            Self::Proxy => &["create", "delete", "get", "patch", "update"],
        }
    }

    /// Whether it connects the client with a node rather than read or write an object (upstream's `Connecter`).
    pub const fn connects(self) -> bool {
        matches!(
            self,
            Self::Exec | Self::Attach | Self::PortForward | Self::Proxy
        )
    }
}

/// What is created to be answered or done at once, and never stored.
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
    /// This pod runs on that node.
    Binding,
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

    /// As a Table says it.
    pub fn definition(&self) -> Value {
        let Self {
            name,
            kind,
            format,
            description,
            priority,
        } = self;
        json!({
            "name": name, "type": kind, "format": format, "description": description,
            "priority": priority,
        })
    }

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

impl Kind {
    /// Whether it has that subresource.
    pub fn has(&self, subresource: Subresource) -> bool {
        self.subresources().contains(&subresource)
    }

    /// Whether it has a status subresource.
    pub fn has_status(&self) -> bool {
        self.has(Subresource::Status)
    }

    /// Fills in defaults. Call after `schema::check`.
    pub fn default(&self, object: &mut Value) {
        meta::drop_empty(object);
        match self {
            Self::BuiltIn(kind) => (kind.hooks.default)(object),
            Self::Custom(kind) => kind.default(object),
        }
    }

    /// Decodes: takes out what the kind does not know and answers its paths, or says what cannot be.
    pub fn check(&self, object: &mut Value) -> Result<Vec<String>, String> {
        match self {
            Self::BuiltIn(_) => match schema::check(self.schema(), object) {
                Ok(checked) => Ok(checked.unknown),
                Err(error) => Err(error.to_string()),
            },
            Self::Custom(kind) => kind.check(object),
        }
    }

    /// Admission that looks beyond the object; 403 with the reason when it may not be.
    pub fn admit(
        &self,
        new: &mut Value,
        old: Option<&Value>,
        admission: &Admission<'_>,
    ) -> Result<(), Denied> {
        (self.hooks().admit)(new, old, admission)
    }

    /// Whether an object may be deleted; 403 with the reason when not.
    pub fn admit_delete(&self, object: &Value) -> Result<(), Denied> {
        (self.hooks().admit_delete)(object)
    }

    /// Before a create: drops what a user may not set, starts the generation.
    pub fn prepare_create(&self, object: &mut Value) {
        if let Some(fields) = object.as_object_mut()
            && self.has_status()
            && !self.status_on_create()
        {
            fields.remove("status");
        }
        meta::prepare_create(object, self.counts_generation());
        (self.hooks().prepare_create)(object);
    }

    /// Before an update: keeps the old status and what of metadata cannot change, counts the generation.
    pub fn prepare_update(&self, new: &mut Value, old: &Value) {
        if self.has_status() {
            copy_field(new, old, "status");
        }
        meta::prepare_update(new, old);
        (self.hooks().prepare_update)(new, old);
        self.count_generation(new, old);
    }

    /// Raises the generation when the object's intent has changed, for kinds that count it.
    pub fn count_generation(&self, new: &mut Value, old: &Value) {
        match self {
            Self::BuiltIn(kind) if kind.counts_generation => meta::count_generation(new, old),
            Self::BuiltIn(_) => {}
            Self::Custom(kind) => kind.count_generation(new, old),
        }
    }

    /// Once a deletion has begun.
    pub fn prepare_delete(&self, object: &mut Value, now: &str) {
        (self.hooks().prepare_delete)(object, now);
    }

    const fn status_metadata(&self) -> StatusMetadata {
        match self {
            Self::BuiltIn(kind) => kind.status_metadata,
            Self::Custom(_) => StatusMetadata::Kept,
        }
    }

    /// Before an update of the status subresource: all but the status and, with most kinds, metadata keeps its old value.
    pub fn prepare_status(&self, new: &mut Value, old: &Value) {
        meta::prepare_status(new, old, self.status_metadata());
        (self.hooks().prepare_status)(new, old);
    }

    /// Before an update of the approval subresource: as one of the status.
    pub fn prepare_approval(&self, new: &mut Value, old: &Value) {
        meta::prepare_status(new, old, self.status_metadata());
        (self.hooks().prepare_approval)(new, old);
    }

    /// Before an update of a part of the spec that has a subresource of its own: all else (but managed fields) keeps its
    /// old value.
    pub fn prepare_part(&self, part: Subresource, new: &mut Value, old: &Value) {
        meta::prepare_part(new, old, |kept, sent| {
            (self.hooks().prepare_part)(part, kept, sent);
        });
        self.count_generation(new, old);
    }

    /// Before an update of the finalize subresource: all but `spec.finalizers` keeps its old value.
    pub fn prepare_finalize(&self, new: &mut Value, old: &Value) {
        meta::prepare_finalize(new, old);
    }

    /// A decoding failure as the client reads it.
    pub fn decode_error(&self, error: &impl std::fmt::Display) -> Status {
        let (kind, version) = (self.kind(), self.version());
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
            None => meta::validate(new, self.namespaced(), self.name_rule()),
            Some(old) => meta::validate_update(new, old),
        };
        match self {
            Self::BuiltIn(kind) => errors.extend((kind.hooks.validate)(new, old)),
            Self::Custom(kind) => errors.extend(kind.validate(new, old)),
        }
        errors
    }

    /// All broken rules of a status update, metadata included.
    pub fn validate_status(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate_update(new, old);
        match self {
            Self::BuiltIn(kind) => errors.extend((kind.hooks.validate_status)(new, old)),
            Self::Custom(kind) => errors.extend(kind.validate(new, Some(old))),
        }
        errors
    }

    /// All broken rules of an update of a part of the spec, metadata included.
    pub fn validate_part(&self, part: Subresource, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate_update(new, old);
        errors.extend((self.hooks().validate_part)(part, new, old));
        errors
    }

    /// All broken rules of an approval, metadata included.
    pub fn validate_approval(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate_update(new, old);
        errors.extend((self.hooks().validate_approval)(new, old));
        errors
    }

    /// Warnings for the client.
    pub fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        (self.hooks().warnings)(new, old)
    }

    /// Table cells of one object.
    pub fn row(&self, object: &Value, now_unix_ms: u64) -> Vec<Value> {
        let cells = if let Self::Custom(kind) = self {
            kind.row(object, now_unix_ms)
        } else if self.is_stored() {
            (self.hooks().row)(object, now_unix_ms)
        } else {
            let mut stored = object.clone();
            self.to_stored(&mut stored);
            (self.stored().hooks().row)(&stored, now_unix_ms)
        };
        debug_assert_eq!(cells.len(), self.n_columns(), "{self:?} columns");
        cells
    }

    /// Selectable fields of an object of a user's kind, which are read from the object: the definition may have named
    /// others when it was stored.
    pub fn custom_fields(&self, object: &Value) -> Option<Vec<(&str, String)>> {
        match self {
            Self::BuiltIn(_) => None,
            Self::Custom(kind) => Some(kind.fields(object)),
        }
    }

    /// The `Scale` of an object, or why it has none.
    pub fn scale_of(&self, object: &Value) -> Result<Value, String> {
        match self {
            Self::BuiltIn(_) => Ok(crate::scale::scale_of(object)),
            Self::Custom(kind) => kind.scale_of(object),
        }
    }

    /// Writes a `Scale` back into its object.
    pub fn apply_scale(&self, object: &mut Value, scale: &Value) -> Result<(), Vec<FieldError>> {
        match self {
            Self::BuiltIn(_) => crate::scale::apply_scale(object, scale),
            Self::Custom(kind) => kind.apply_scale(object, scale),
        }
    }

    /// Selectable fields of a stored object beyond `metadata.name` and `metadata.namespace`.
    pub fn fields(&self, object: &Value) -> Vec<(&str, String)> {
        (self.stored().hooks().fields)(object)
    }

    /// Whether a field selector may name `field`.
    pub fn can_select(&self, field: &str) -> bool {
        field == "metadata.name"
            || (self.namespaced() && field == "metadata.namespace")
            || self.selectable().contains(&field)
    }

    /// The `Invalid` answer for broken rules of `object`.
    pub fn invalid(&self, object: &Value, errors: &[FieldError]) -> Status {
        let meta = Meta::of(object);
        let name = if meta.name().is_empty() {
            meta.generate_name()
        } else {
            meta.name()
        };
        let errors = kinds::secret::without_content(self, object, errors);
        invalid_status(self.group(), self.kind(), name, &errors)
    }
}

impl Kind {
    /// Whether both are one and the same: of one name and, where users define it, of one definition.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::BuiltIn(a), Self::BuiltIn(b)) => std::ptr::eq(*a, *b),
            (Self::Custom(a), Self::Custom(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kind({}/{})", self.resource(), self.version())
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
