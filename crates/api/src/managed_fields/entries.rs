//! The list of entries while a write is noted in it, left as it is stored: an entry is decoded only when the write
//! touches what it owns. Most statuses touch one of three.

use serde_json::Value;

use super::fieldset::FieldSet;
use super::managed::{self, Managed, ManagerKey, UPDATE_MANAGERS};

/// The entries of one object.
#[derive(Debug, Default)]
pub(crate) struct Entries(Vec<Value>);

impl Entries {
    /// Entries that the store has: well-formed.
    pub(crate) fn stored(entries: Vec<Value>) -> Self {
        Self(entries)
    }

    /// Entries that a client sent, one for each manager; none when one is malformed.
    pub(crate) fn sent(entries: Vec<Value>) -> Option<Self> {
        managed::decode(entries).map(|managers| Self(managed::encode(managers)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes paths from all managers; who owns nothing then is gone.
    pub(crate) fn release(&mut self, paths: &FieldSet) {
        self.0.retain_mut(|entry| {
            let Some(tree) = entry.get_mut("fieldsV1").filter(|tree| paths.meets(tree)) else {
                return true;
            };
            let Some(mut owned) = FieldSet::from_json(tree.take()) else {
                return false;
            };
            owned.remove_all(paths);
            let is_left = !owned.is_empty();
            *tree = owned.into_json();
            is_left
        });
    }

    /// Gives a manager more fields, from now on.
    pub(crate) fn grant(&mut self, key: ManagerKey, mut managed: Managed) {
        let mut own = self.0.iter_mut().filter(|entry| is_of(entry, &key));
        let Some(entry) = own.next() else {
            self.0.push(managed::encode_entry(key, managed));
            return;
        };
        if let Some(before) = FieldSet::from_json(entry["fieldsV1"].take()) {
            managed.fields.add_all(before);
        }
        *entry = managed::encode_entry(key, managed);
    }

    /// The list to store.
    pub(crate) fn finish(self) -> Vec<Value> {
        let updates = self.0.iter().filter(|entry| entry["operation"] == "Update");
        if updates.count() <= UPDATE_MANAGERS {
            return self.0;
        }
        let mut managers = managed::decode(self.0).unwrap_or_default();
        managed::cap(&mut managers);
        managed::encode(managers)
    }
}

fn is_of(entry: &Value, key: &ManagerKey) -> bool {
    let text = |field: &str| entry[field].as_str().unwrap_or_default();
    let is_apply = text("operation") == "Apply";
    is_apply == key.is_apply
        && text("manager") == key.manager
        && text("subresource") == key.subresource
        && (is_apply || text("apiVersion") == key.api_version)
}
