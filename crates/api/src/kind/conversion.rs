//! Served versions that are not the stored one: how objects go from one to the other.
//!
//! Not here: who asks in which version (apiserver), and what the versions say (`kinds/`).

use serde_json::Value;

use super::Kind;
use crate::meta;

/// How a served version is made of the version that is stored, and the way back.
///
/// Both functions leave `apiVersion` and `kind` alone; `Kind::from_stored` and `Kind::to_stored` write those.
#[derive(Clone, Copy)]
pub struct Conversion {
    /// The version that is stored, and whose rules hold for all.
    pub stored: &'static Kind,
    /// From the stored version.
    pub from_stored: fn(&mut Value),
    /// To the stored version.
    pub to_stored: fn(&mut Value),
    /// What this version calls the stored version's selectable fields: (its name, the stored name).
    pub fields: &'static [(&'static str, &'static str)],
}

impl Kind {
    /// The version of this kind that is stored: mostly itself.
    pub fn stored(&self) -> &Self {
        match (self, self.conversion()) {
            (_, Some(conversion)) => conversion.stored,
            (Self::Custom(kind), None) => kind.stored.as_ref().unwrap_or(self),
            (_, None) => self,
        }
    }

    /// Whether answers show stored objects as they are.
    pub fn is_stored(&self) -> bool {
        match self {
            Self::BuiltIn(_) => self.conversion().is_none(),
            Self::Custom(kind) => kind.stored.is_none(),
        }
    }

    /// Whether a stored object of that revision is shown as it is. A user's kind may have another definition by now:
    /// then objects are read along the present one.
    pub fn shows_as_stored(&self, revision: u64) -> bool {
        match self {
            Self::BuiltIn(_) => self.is_stored(),
            Self::Custom(kind) => kind.shows_as_stored(revision),
        }
    }

    /// Makes an object, on which all the work is done, what is stored. Objects of built-in kinds are worked on in the
    /// stored form (`to_stored`), those of users' kinds in the version of the request.
    pub fn to_storage(&self, object: &mut Value) {
        if let Self::Custom(kind) = self {
            kind.write(object);
        }
    }

    /// Makes a stored object one of this version.
    pub fn from_stored(&self, object: &mut Value) {
        if let Self::Custom(kind) = self {
            return kind.read(object);
        }
        let Some(conversion) = self.conversion() else {
            return;
        };
        (conversion.from_stored)(object);
        self.write_type(object);
    }

    /// Makes an object of this version one to store, with the stored version's defaults.
    pub fn to_stored(&self, object: &mut Value) {
        let Some(conversion) = self.conversion() else {
            return;
        };
        (conversion.to_stored)(object);
        conversion.stored.write_type(object);
        conversion.stored.default(object);
    }

    fn write_type(&self, object: &mut Value) {
        let fields = meta::object_mut(object);
        fields.insert("apiVersion".to_owned(), self.api_version().into());
        fields.insert("kind".to_owned(), self.kind().into());
    }

    /// The stored name of a selectable field.
    pub fn stored_field<'a>(&'a self, field: &'a str) -> &'a str {
        let known = self
            .conversion()
            .map_or(&[][..], |conversion| conversion.fields);
        known
            .iter()
            .find(|(name, _)| *name == field)
            .map_or(field, |(_, stored)| stored)
    }
}
