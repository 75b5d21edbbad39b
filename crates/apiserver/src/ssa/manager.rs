//! The two operations on managed fields: `update` notes what a write changed, `apply` merges a configuration and
//! removes what its manager no longer applies.

use kontiki_base::status::Status;
use serde_json::{Value, json};

use super::conflict::{self, Conflicts};
use super::fieldset::{Element, FieldSet};
use super::managed::{self, Managed, ManagerKey, Managers};
use super::merge::merge;
use super::shape::Shape;
use super::walk::{self, Comparison};

/// `kubectl`'s record of what it applied on the client's side.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Who writes, what and when.
#[derive(Debug, Clone)]
pub(crate) struct Writer<'a> {
    /// Schema of the kind.
    pub(crate) shape: Shape<'a>,
    /// `apiVersion` of the kind.
    pub(crate) api_version: &'a str,
    /// Name of the field manager.
    pub(crate) manager: &'a str,
    /// Subresource written to, or empty.
    pub(crate) subresource: &'a str,
    /// Fields that this way of writing resets, hence never owns.
    pub(crate) reset: FieldSet,
    /// Now, RFC 3339.
    pub(crate) time: &'a str,
}

/// A path of field names.
pub(crate) fn fields(names: &[&[&str]]) -> FieldSet {
    let mut set = FieldSet::default();
    for path in names {
        set.insert(
            &path
                .iter()
                .map(|name| Element::field(name))
                .collect::<Vec<_>>(),
        );
    }
    set
}

/// What no manager ever owns.
fn system_metadata() -> FieldSet {
    fields(&[
        &["apiVersion"],
        &["kind"],
        &["metadata"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "creationTimestamp"],
        &["metadata", "selfLink"],
        &["metadata", "uid"],
        &["metadata", "clusterName"],
        &["metadata", "generation"],
        &["metadata", "managedFields"],
        &["metadata", "resourceVersion"],
    ])
}

impl Writer<'_> {
    fn key(&self, is_apply: bool) -> ManagerKey {
        ManagerKey {
            manager: self.manager.to_owned(),
            is_apply,
            api_version: if is_apply {
                String::new()
            } else {
                self.api_version.to_owned()
            },
            subresource: self.subresource.to_owned(),
        }
    }

    fn managed(&self, fields: FieldSet) -> Managed {
        let (api_version, time) = (self.api_version.to_owned(), Some(self.time.to_owned()));
        Managed {
            fields,
            api_version,
            time,
        }
    }

    /// Notes in `new` who owns what after a create (no `live`), an update or a patch.
    pub(crate) fn update(&self, live: Option<&Value>, new: &mut Value) {
        let sent = managed::take(new);
        let mut live_tree = live.cloned().unwrap_or_else(|| json!({}));
        let stored = managed::take(&mut live_tree);
        let stored = || managed::decode(stored.as_ref()).unwrap_or_default();
        let mut managers = match &sent {
            _ if !self.subresource.is_empty() => stored(),
            Some(Value::Array(entries)) if is_reset(entries) => Managers::new(),
            sent => managed::decode(sent.as_ref())
                .filter(|managers| !managers.is_empty())
                .unwrap_or_else(stored),
        };
        // An object that was never tracked stays so until it is first applied to.
        if managers.is_empty() && live.is_some() {
            return;
        }
        self.note_update(&live_tree, new, &mut managers);
        managed::cap(&mut managers);
        managed::put(new, &managers);
    }

    /// Gives the present manager what differs, and takes it from the others.
    fn note_update(&self, live: &Value, new: &Value, managers: &mut Managers) {
        let changes = self.compare(live, new);
        let changed = changes.modified.union(&changes.added);
        release(managers, None, &changed.union(&changes.removed));
        let own = changed.difference(&system_metadata());
        if own.is_empty() {
            return;
        }
        let key = self.key(false);
        let before = managers
            .get(&key)
            .map(|managed| managed.fields.clone())
            .unwrap_or_default();
        managers.insert(key, self.managed(own.union(&before)));
    }

    fn compare(&self, live: &Value, new: &Value) -> Comparison {
        walk::compare(self.shape, live, new).without(&self.reset)
    }

    /// Server-side apply of `config` to `live`. Answers the merged object with its managed fields.
    pub(crate) fn apply(
        &self,
        live: Option<&Value>,
        config: &Value,
        force: bool,
    ) -> Result<Value, Status> {
        let mut live_tree = live.cloned().unwrap_or_else(|| json!({}));
        let stored = managed::take(&mut live_tree);
        let mut managers = managed::decode(stored.as_ref()).ok_or_else(|| {
            Status::internal("failed to decode managed fields: an entry is malformed")
        })?;
        if managers.is_empty() && live.is_some() {
            let before = Writer {
                manager: "before-first-apply",
                ..self.clone()
            };
            before.note_update(&json!({}), &live_tree, &mut managers);
        }
        let outcome = match self.apply_once(&live_tree, config, managers.clone(), force)? {
            Err(conflicts) if self.is_allowed_by_last_applied(&live_tree, &conflicts) => {
                self.apply_once(&live_tree, config, managers, true)?
            }
            outcome => outcome,
        };
        let (mut new, managers) = outcome.map_err(|conflicts| conflict::to_status(&conflicts))?;
        self.sync_last_applied(&mut new, config);
        managed::put(&mut new, &managers);
        Ok(new)
    }

    fn apply_once(
        &self,
        live: &Value,
        config: &Value,
        mut managers: Managers,
        force: bool,
    ) -> Result<Result<(Value, Managers), Conflicts>, Status> {
        let merged = merge(self.shape, live, config)?;
        let set = walk::field_set(self.shape, config).subtract_below(&self.reset);
        let key = self.key(true);
        let last = managers.insert(key.clone(), self.managed(set));
        let new = match &last {
            Some(last) if !last.fields.is_empty() => self.prune(&merged, &managers, &last.fields),
            _ => merged,
        };
        let changes = self.compare(live, &new);
        let changed = changes.modified.union(&changes.added);
        let conflicts: Conflicts = managers
            .iter()
            .filter(|(other, _)| **other != key)
            .map(|(other, managed)| (other.clone(), managed.fields.intersection(&changed)))
            .filter(|(_, set)| !set.is_empty())
            .collect();
        if !force && !conflicts.is_empty() {
            return Ok(Err(conflicts));
        }
        release(&mut managers, Some(&key), &changed.union(&changes.removed));
        if let Some(own) = managers.get_mut(&key) {
            own.fields = own.fields.difference(&system_metadata());
            if own.fields.is_empty() {
                managers.remove(&key);
            } else if let (true, Some(last)) = (*live == new, last) {
                own.time = last.time;
            }
        }
        Ok(Ok((new, managers)))
    }

    /// Removes what this manager applied last time and now doesn't, unless another one owns it too.
    fn prune(&self, merged: &Value, managers: &Managers, last: &FieldSet) -> Value {
        let named = |set: &FieldSet| self.with_named_members(set);
        let without =
            |set: &FieldSet| walk::remove(self.shape, merged, set).unwrap_or_else(|| json!({}));
        let set_of = |value: &Value| named(&walk::field_set(self.shape, value));
        let merged_set = set_of(merged);
        // Take all of the last configuration out, put back what is owned, then what was never this manager's.
        let pruned = set_of(&without(&named(last)));
        let owned = managers
            .values()
            .fold(FieldSet::default(), |all, m| all.union(&m.fields));
        let pruned = without(&merged_set.difference(&pruned.union(&named(&owned))));
        without(
            &merged_set
                .difference(&set_of(&pruned))
                .intersection(&named(last)),
        )
    }

    /// A set of `.a.b` also owns `.a` where `a` is a struct's field.
    fn with_named_members(&self, set: &FieldSet) -> FieldSet {
        set.with_named_members(
            self.shape,
            |shape, element| element.field_name().is_some_and(|name| shape.names(name)),
            |shape, element| shape.child(element),
        )
    }

    /// Conflicts of `kubectl apply --server-side` with what client-side apply set are no conflicts.
    fn is_allowed_by_last_applied(&self, live: &Value, conflicts: &Conflicts) -> bool {
        let last = &live["metadata"]["annotations"][LAST_APPLIED];
        let (true, Some(text)) = (self.manager == "kubectl", last.as_str()) else {
            return false;
        };
        let Ok(last) = serde_json::from_str::<Value>(text) else {
            return false;
        };
        if last["apiVersion"] != self.api_version {
            return false;
        }
        let changes = walk::compare(self.shape, &last, live);
        let allowed = walk::field_set(self.shape, &last)
            .difference(&changes.modified)
            .difference(&changes.added)
            .difference(&changes.removed);
        conflict::all_paths(conflicts)
            .difference(&allowed)
            .is_empty()
    }

    /// Keeps the client-side record in step for `kubectl`, so that both ways of applying mix.
    fn sync_last_applied(&self, new: &mut Value, config: &Value) {
        let Some(last) = new
            .pointer_mut("/metadata/annotations")
            .and_then(|a| a.get_mut(LAST_APPLIED))
        else {
            return;
        };
        if self.manager == "kubectl" && last.as_str().is_some_and(|text| !text.is_empty()) {
            let mut config = config.clone();
            let annotations = config.pointer_mut("/metadata/annotations");
            if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
                annotations.remove(LAST_APPLIED);
            }
            *last = json!(format!("{config}\n"));
        }
    }
}

/// Takes paths from all managers but `except`; who owns nothing then is gone.
fn release(managers: &mut Managers, except: Option<&ManagerKey>, paths: &FieldSet) {
    managers.retain(|key, managed| {
        if Some(key) != except {
            managed.fields = managed.fields.difference(paths);
        }
        !managed.fields.is_empty()
    });
}

/// An empty list, or one empty entry, asks for a fresh start.
fn is_reset(entries: &[Value]) -> bool {
    match entries {
        [] => true,
        [only] => only.as_object().is_some_and(serde_json::Map::is_empty),
        _ => false,
    }
}
