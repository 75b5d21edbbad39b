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
        match self.conversion() {
            Some(conversion) => conversion.stored,
            None => self,
        }
    }

    /// Whether answers show stored objects as they are.
    pub fn is_stored(&self) -> bool {
        self.conversion().is_none()
    }

    /// Makes a stored object one of this version.
    pub fn from_stored(&self, object: &mut Value) {
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
