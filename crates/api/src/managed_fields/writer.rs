//! Who writes, and what of it is noted: what differs from before is the writer's from now on, and nobody else's.

use serde_json::Value;

use super::entries::Entries;
use super::fieldset::{Element, FieldSet};
use super::managed::{self, Managed, ManagerKey};
use super::reset::{fields_of, nothing, system_metadata};
use super::shape::Shape;
use super::walk::{self, Comparison};
use crate::kind::{Kind, Subresource};

/// Who writes, what and when.
#[derive(Debug, Clone, Copy)]
pub struct Writer<'a> {
    pub(crate) kind: &'a Kind,
    pub(crate) subresource: Option<Subresource>,
    pub(crate) manager: &'a str,
    pub(crate) time: &'a str,
}

impl<'a> Writer<'a> {
    /// The field manager `manager`, writing an object at `time` (RFC 3339).
    pub fn new(kind: &'a Kind, manager: &'a str, time: &'a str) -> Self {
        let manager = if manager.is_empty() {
            "unknown"
        } else {
            manager
        };
        Self {
            kind,
            subresource: None,
            manager,
            time,
        }
    }

    /// The same, writing a part of it.
    pub fn to(self, subresource: Option<Subresource>) -> Self {
        Self {
            subresource,
            ..self
        }
    }

    /// The kind of what is written.
    pub fn kind(&self) -> &'a Kind {
        self.kind
    }

    /// When it is written, RFC 3339.
    pub fn time(&self) -> &'a str {
        self.time
    }

    pub(crate) fn shape(&self) -> Shape<'a> {
        Shape::of(self.kind.schema())
    }

    /// Fields that this way of writing resets, hence never owns.
    pub(crate) fn reset(&self) -> &'a FieldSet {
        fields_of(self.kind, self.subresource)
    }

    pub(crate) fn key(&self, is_apply: bool) -> ManagerKey {
        let api_version = if is_apply {
            ""
        } else {
            self.kind.api_version()
        };
        ManagerKey {
            manager: self.manager.to_owned(),
            is_apply,
            api_version: api_version.to_owned(),
            subresource: self.subresource.map_or("", Subresource::name).to_owned(),
        }
    }

    pub(crate) fn managed(&self, fields: FieldSet) -> Managed {
        Managed {
            fields,
            api_version: self.kind.api_version().to_owned(),
            time: Some(self.time.to_owned()),
        }
    }

    /// Notes in `new` who owns what after a create (no `live`), an update or a patch.
    pub fn update(&self, live: Option<&Value>, new: &mut Value) {
        if let Some(mut entries) = self.entries(live, new) {
            let changes = walk::compare(self.shape(), live, new, self.reset());
            self.note(changes, &mut entries);
            managed::put(new, entries.finish());
        }
    }

    /// Notes a write of more than one part, as if the writer had written the status to its subresource and all else
    /// to the object.
    pub fn update_parts(&self, live: &Value, new: &mut Value) {
        if let Some(mut entries) = self.entries(Some(live), new) {
            let mut changes = walk::compare(self.shape(), Some(live), new, nothing());
            if self.kind.has_status() {
                let status = changes.split_off(&Element::field("status"));
                self.to(Some(Subresource::Status))
                    .note(status, &mut entries);
            }
            self.to(None).note(changes, &mut entries);
            managed::put(new, entries.finish());
        }
    }

    /// Takes the entries to start from out of `new`. None when there is nothing to note: an object that was never
    /// tracked stays so until it is first applied to.
    fn entries(&self, live: Option<&Value>, new: &mut Value) -> Option<Entries> {
        let sent = managed::take(new);
        let stored = live.and_then(managed::entries_of);
        let copied = || Entries::stored(stored.cloned().unwrap_or_default());
        let entries = match sent {
            Some(Value::Array(sent)) if Some(&sent) == stored => Entries::stored(sent),
            Some(Value::Array(sent)) if self.subresource.is_none() => {
                if is_reset(&sent) {
                    Entries::default()
                } else {
                    Entries::sent(sent).unwrap_or_else(copied)
                }
            }
            _ => copied(),
        };
        (!entries.is_empty() || live.is_none()).then_some(entries)
    }

    /// Gives the writer what differs, and takes it from the others.
    pub(crate) fn note(&self, changes: Comparison, entries: &mut Entries) {
        let Comparison { removed, changed } = changes;
        entries.release(&removed);
        entries.release(&changed);
        let mut own = changed;
        own.remove_all(system_metadata());
        if !own.is_empty() {
            entries.grant(self.key(false), self.managed(own));
        }
    }
}

/// An empty list, or one empty entry, asks for a fresh start.
fn is_reset(entries: &[Value]) -> bool {
    match entries {
        [] => true,
        [only] => only.as_object().is_some_and(serde_json::Map::is_empty),
        _ => false,
    }
}
