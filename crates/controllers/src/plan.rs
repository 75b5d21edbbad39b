//! What a controller wants done. Plans are data: the manager turns them into one proposal.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::Resource;
use kontiki_state::{Key, Object, Revision};
use serde::Serialize;
use serde_json::Value;

use crate::view::{Found, resource_of};

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// Adds an object. `metadata.generateName` gets its suffix from the manager.
    Create {
        /// Resource id.
        resource: Arc<str>,
        /// The object.
        object: Value,
        /// What is told of it, one way or the other.
        announce: Option<Announcement>,
    },
    /// Replaces an object, unless it has changed since it was read.
    Update {
        /// Which.
        key: Key,
        /// The revision that was read.
        revision: Revision,
        /// The whole new object.
        object: Value,
        /// It goes by way of the status subresource: the specification is the same.
        status_only: bool,
    },
    /// Deletes an object as the API would, with grace and finalizers.
    Delete {
        /// Which.
        key: Key,
        /// The very object that was meant.
        uid: Arc<str>,
        /// Unless it has changed since.
        revision: Option<Revision>,
        /// Seconds of grace; the pod's own when `None`.
        grace_seconds: Option<i64>,
        /// What becomes of its dependents.
        propagation: Propagation,
    },
}

/// What becomes of the dependents of a deleted object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Propagation {
    /// They go after it.
    #[default]
    Background,
    /// They go before it.
    Foreground,
    /// They stay.
    Orphan,
}

/// Something that people should read under `kubectl describe`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventNote {
    /// Resource, namespace and name of the object it is about.
    pub about: Key,
    /// Its uid.
    pub uid: Arc<str>,
    /// `Warning` rather than `Normal`.
    pub warning: bool,
    /// One CamelCase word.
    pub reason: String,
    /// A sentence.
    pub message: String,
}

/// What is told of a creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The event of its success; `{}` in the message stands for the name that the manager gives.
    pub note: EventNote,
    /// What stands before the reason in the event of its refusal.
    pub failure: String,
    /// The status of the object that it is about tells of a refusal, by the condition `ReplicaFailure`.
    pub in_status: bool,
}

/// What one reconcile came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// Changes, in order.
    pub writes: Vec<Write>,
    /// All changes or none: one transaction.
    pub atomic: bool,
    /// Look again after this long even if nothing changes.
    pub requeue_after: Option<Duration>,
    /// Events to record.
    pub events: Vec<EventNote>,
}

impl Plan {
    /// Nothing to do.
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds a creation.
    pub fn create<T: Resource + Serialize>(&mut self, object: &T) {
        self.create_value(resource_of::<T>(), to_value(object));
    }

    /// Adds a creation of an object that is JSON already.
    pub fn create_value(&mut self, resource: impl Into<Arc<str>>, object: Value) {
        self.writes.push(Write::Create {
            resource: resource.into(),
            object,
            announce: None,
        });
    }

    /// Adds a creation of one of `about`'s pods, announced as the controllers of interchangeable pods do.
    pub fn create_announced<T: Resource + Serialize, O>(&mut self, object: &T, about: &Found<O>) {
        self.create_told(object, about, "Created pod: {}", "Error creating: ");
    }

    /// Adds a creation and what `about`'s events say of it: `success` with `{}` for the name, or `failure` and the
    /// reason.
    pub fn create_told<T: Resource + Serialize, O>(
        &mut self,
        object: &T,
        about: &Found<O>,
        success: &str,
        failure: &str,
    ) {
        let announce = Announcement {
            note: new_note(&about.object, false, "SuccessfulCreate", success.into()),
            failure: failure.into(),
            in_status: false,
        };
        self.create_announcing(object, announce);
    }

    /// Adds a creation of one of `about`'s replicas: a refusal is told in its status too.
    pub fn create_replica<T: Resource + Serialize, O>(&mut self, object: &T, about: &Found<O>) {
        let message = "Created pod: {}".to_owned();
        let announce = Announcement {
            note: new_note(&about.object, false, "SuccessfulCreate", message),
            failure: "Error creating: ".into(),
            in_status: true,
        };
        self.create_announcing(object, announce);
    }

    fn create_announcing<T: Resource + Serialize>(&mut self, object: &T, announce: Announcement) {
        self.writes.push(Write::Create {
            resource: resource_of::<T>().into(),
            object: to_value(object),
            announce: Some(announce),
        });
    }

    /// Replaces an object with what `edit` makes of it; nothing if that is the same.
    pub fn edit(&mut self, object: &Object, edit: impl FnOnce(&mut Value)) {
        self.write(object, false, edit);
    }

    /// The same by way of the status subresource, which takes more of some kinds than their status.
    pub fn edit_status(&mut self, object: &Object, edit: impl FnOnce(&mut Value)) {
        self.write(object, true, edit);
    }

    /// Sets `status`; nothing if it is the same.
    pub fn set_status<T: Serialize>(&mut self, object: &Object, status: &T) {
        self.write(object, true, |value| value["status"] = to_value(status));
    }

    fn write(&mut self, object: &Object, status_only: bool, edit: impl FnOnce(&mut Value)) {
        let old = object.value();
        let mut new = old.clone();
        edit(&mut new);
        if new != old {
            self.writes.push(Write::Update {
                key: object.key.clone(),
                revision: object.revision,
                object: new,
                status_only,
            });
        }
    }

    /// Deletes with the object's own grace; dependents follow.
    pub fn delete(&mut self, object: &Object) {
        self.delete_with(object, None, Propagation::Background);
    }

    /// Deletes.
    pub fn delete_with(&mut self, object: &Object, grace: Option<i64>, propagation: Propagation) {
        self.writes.push(Write::Delete {
            key: object.key.clone(),
            uid: object.header.uid.clone(),
            revision: None,
            grace_seconds: grace,
            propagation,
        });
    }

    /// Records an event.
    pub fn event<T>(&mut self, about: &Found<T>, reason: &str, message: impl Into<String>) {
        self.note(&about.object, false, reason, message.into());
    }

    /// Records a warning.
    pub fn warn<T>(&mut self, about: &Found<T>, reason: &str, message: impl Into<String>) {
        self.note(&about.object, true, reason, message.into());
    }

    fn note(&mut self, about: &Object, warning: bool, reason: &str, message: String) {
        self.events.push(new_note(about, warning, reason, message));
    }

    /// Asks for another look after `ms`, or sooner if that was asked already.
    pub fn requeue_after_ms(&mut self, ms: u64) {
        let after = Duration::from_millis(ms.max(1));
        self.requeue_after = Some(self.requeue_after.map_or(after, |other| other.min(after)));
    }
}

fn new_note(about: &Object, warning: bool, reason: &str, message: String) -> EventNote {
    let (key, uid) = (about.key.clone(), about.header.uid.clone());
    EventNote {
        about: key,
        uid,
        warning,
        reason: reason.into(),
        message,
    }
}

/// JSON of an API object, which always has one.
pub fn to_value<T: Serialize>(object: &T) -> Value {
    serde_json::to_value(object).expect("API types serialize")
}
