//! Server-side apply: a configuration is merged into the live object, what its manager no longer applies goes, and
//! what another manager owns is a conflict.

use kontiki_base::status::Status;
use serde_json::{Value, json};

use super::conflict::{self, Conflicts};
use super::entries::Entries;
use super::fieldset::FieldSet;
use super::managed::{self, ManagerKey, Managers};
use super::merge::merge;
use super::reset::{nothing, system_metadata};
use super::walk;
use super::writer::Writer;

/// `kubectl`'s record of what it applied on the client's side.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

impl Writer<'_> {
    /// Server-side apply of `config` to `live`. Answers the merged object with its managed fields.
    pub fn apply(
        &self,
        live: Option<&Value>,
        config: &Value,
        force: bool,
    ) -> Result<Value, Status> {
        let mut live_tree = live.cloned().unwrap_or_else(|| json!({}));
        let stored = match managed::take(&mut live_tree) {
            Some(Value::Array(entries)) => entries,
            _ => Vec::new(),
        };
        let mut managers = managed::decode(stored).ok_or_else(malformed)?;
        if managers.is_empty() && live.is_some() {
            managers = self.before_first_apply(&live_tree)?;
        }
        let outcome = match self.apply_once(&live_tree, config, managers.clone(), force)? {
            Err(conflicts) if self.is_allowed_by_last_applied(&live_tree, &conflicts) => {
                self.apply_once(&live_tree, config, managers, true)?
            }
            outcome => outcome,
        };
        let (mut new, managers) = outcome.map_err(|conflicts| conflict::to_status(&conflicts))?;
        self.sync_last_applied(&mut new, config);
        managed::put(&mut new, managed::encode(managers));
        Ok(new)
    }

    /// An object that was not tracked so far has one manager for all that it is.
    fn before_first_apply(&self, live: &Value) -> Result<Managers, Status> {
        let before = Writer {
            manager: "before-first-apply",
            ..*self
        };
        let mut entries = Entries::default();
        let all = walk::compare(self.shape(), None, live, self.reset());
        before.note(all, &mut entries);
        managed::decode(entries.finish()).ok_or_else(malformed)
    }

    fn apply_once(
        &self,
        live: &Value,
        config: &Value,
        mut managers: Managers,
        force: bool,
    ) -> Result<Result<(Value, Managers), Conflicts>, Status> {
        let merged = merge(self.shape(), live, config)?;
        let set = walk::field_set(self.shape(), config).subtract_below(self.reset());
        let key = self.key(true);
        let last = managers.insert(key.clone(), self.managed(set));
        let new = match &last {
            Some(last) if !last.fields.is_empty() => self.prune(&merged, &managers, &last.fields),
            _ => merged,
        };
        let changes = walk::compare(self.shape(), Some(live), &new, self.reset());
        let conflicts: Conflicts = managers
            .iter()
            .filter(|(other, _)| **other != key)
            .map(|(other, managed)| {
                let set = managed.fields.intersection(&changes.changed);
                (other.clone(), set)
            })
            .filter(|(_, set)| !set.is_empty())
            .collect();
        if !force && !conflicts.is_empty() {
            return Ok(Err(conflicts));
        }
        release(&mut managers, &key, &changes.changed);
        release(&mut managers, &key, &changes.removed);
        if let Some(own) = managers.get_mut(&key) {
            own.fields.remove_all(system_metadata());
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
            |set: &FieldSet| walk::remove(self.shape(), merged, set).unwrap_or_else(|| json!({}));
        let set_of = |value: &Value| named(&walk::field_set(self.shape(), value));
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
            self.shape(),
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
        if last["apiVersion"] != self.kind.api_version() {
            return false;
        }
        let changes = walk::compare(self.shape(), Some(&last), live, nothing());
        let mut allowed = walk::field_set(self.shape(), &last);
        allowed.remove_all(&changes.changed);
        allowed.remove_all(&changes.removed);
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
fn release(managers: &mut Managers, except: &ManagerKey, paths: &FieldSet) {
    managers.retain(|key, managed| {
        if key != except {
            managed.fields.remove_all(paths);
        }
        !managed.fields.is_empty()
    });
}

fn malformed() -> Status {
    Status::internal("failed to decode managed fields: an entry is malformed")
}
