//! Asking mutating hooks a second time: those that want it, when something behind them changed the object.

use std::collections::BTreeSet;

use serde_json::Value;

/// Where the mutating phase of one request stands.
#[derive(Debug, Default)]
pub(in crate::admission) struct Reinvocation {
    is_second: bool,
    /// The chain has to be gone through again.
    is_wanted: bool,
    /// Hooks that were called and want to be called again when the object changes.
    called: BTreeSet<String>,
    /// Those of them behind which it did.
    due: BTreeSet<String>,
    /// The object as the last round left it.
    left: Option<Value>,
}

impl Reinvocation {
    /// Whether there has to be a second round; there is no third.
    pub(in crate::admission) fn begins_again(&mut self) -> bool {
        let again = self.is_wanted && !self.is_second;
        self.is_second |= again;
        again
    }

    /// The hooks' turn in a round: other plugins may have changed the object since the last one.
    pub(super) fn enter(&mut self, object: Option<&Value>) {
        if self.is_second && self.left.as_ref() != object {
            self.changed();
        }
    }

    /// The hooks' turn is over.
    pub(super) fn leave(&mut self, object: Option<&Value>) {
        // Only a second round compares.
        if self.is_wanted && !self.is_second {
            self.left = object.cloned();
        }
    }

    /// Whether a hook that matches is to be called: all are in the first round, none for the first time in the second.
    pub(super) fn is_due(&self, uid: &str) -> bool {
        !self.is_second || self.due.contains(uid)
    }

    /// A hook was called.
    pub(super) fn called(&mut self, uid: String, wants_more: bool, changed: bool) {
        if changed {
            self.changed();
            self.is_wanted = true;
        }
        if wants_more {
            self.called.insert(uid);
        }
    }

    fn changed(&mut self) {
        self.due.append(&mut self.called);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_before_a_change_are_asked_once_more() {
        let mut state = Reinvocation::default();
        state.enter(None);
        assert!(state.is_due("a") && state.is_due("b"));
        state.called("a".into(), true, false);
        state.called("b".into(), true, true);
        state.leave(None);
        assert!(state.begins_again());
        state.enter(None);
        assert!(state.is_due("a"), "b changed the object behind it");
        assert!(!state.is_due("b"), "nothing changed behind b");
        assert!(!state.is_due("c"), "never for the first time");
        state.called("a".into(), true, true);
        assert!(!state.begins_again());
    }
}
