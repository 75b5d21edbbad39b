//! The first step of a commit: creations become the objects that admission sees.
//!
//! Name, uid, defaults and managed fields are given here, and the kind's own admission (`Hooks::admit`) is asked. What
//! the API server's plugins say comes after; see `settle`.

use std::sync::Arc;

use kontiki_api::admission::{Admission, Objects, Requester};
use kontiki_api::managed_fields::Writer;
use kontiki_api::meta::{Meta, metadata_mut};
use kontiki_api::{Kinds, time};
use kontiki_state::{Key, Snapshot};
use serde_json::{Value, json};

use super::{SUFFIX, Stamp};
use crate::plan::{EventNote, Write};

/// Writes on their way to operations.
#[derive(Debug, Default)]
pub struct Drafts {
    /// Updates and deletions as planned; creations as admission sees them.
    pub writes: Vec<Write>,
    /// Writes that admission refused, in words.
    pub refused: Vec<String>,
    /// Events about refused creations.
    pub complaints: Vec<EventNote>,
    /// Whose status tells of the first refusal, and why that was.
    pub failing: Option<(Key, String)>,
}

impl Drafts {
    /// Notes that a write was refused, with an event in place of the one about its success.
    pub fn refuse(&mut self, write: Write, why: String) {
        if let Write::Create {
            announce: Some(announce),
            ..
        } = write
        {
            if announce.in_status {
                let about = announce.note.about.clone();
                self.failing.get_or_insert((about, why.clone()));
            }
            self.complaints.push(EventNote {
                warning: true,
                reason: "FailedCreate".to_owned(),
                message: format!("{}{why}", announce.failure),
                ..announce.note
            });
        }
        self.refused.push(why);
    }
}

/// The objects that admission looks at.
struct Stored<'a>(&'a Snapshot);

impl Objects for Stored<'_> {
    fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let object = self.0.find(resource, namespace, name)?;
        object.typed::<Value>().ok()
    }

    fn list(&self, resource: &str) -> Vec<Arc<Value>> {
        let objects = self.0.list(resource, None, None);
        objects
            .filter_map(|object| object.typed::<Value>().ok())
            .collect()
    }
}

/// The first step. Creations in namespaces that go, or of unknown resources, are left out.
pub fn draft(
    kinds: &Kinds,
    snapshot: &Snapshot,
    writes: Vec<Write>,
    manager: &str,
    stamp: &mut Stamp<'_>,
) -> Drafts {
    let now = time::rfc3339(stamp.now_ms);
    let mut drafts = Drafts::default();
    for mut write in writes {
        if let Write::Create {
            resource, object, ..
        } = &mut write
        {
            let kind = kinds.by_resource(resource);
            let Some(kind) = kind.filter(|kind| !kind.namespaced() || has_home(snapshot, object))
            else {
                continue;
            };
            let writer = Writer::new(kind, manager, &now);
            if let Err(why) = create(snapshot, &writer, object, &now, stamp) {
                drafts.refuse(write, why);
                continue;
            }
        }
        drafts.writes.push(write);
    }
    drafts
}

/// Nothing is made in a namespace that goes.
fn has_home(snapshot: &Snapshot, object: &Value) -> bool {
    let home = snapshot.find("namespaces", "", Meta::of(object).namespace());
    home.is_some_and(|home| !home.header.deleting)
}

/// Makes the object whole, or says why it may not be.
fn create(
    snapshot: &Snapshot,
    writer: &Writer<'_>,
    object: &mut Value,
    now: &str,
    stamp: &mut Stamp<'_>,
) -> Result<(), String> {
    let kind = writer.kind();
    object["apiVersion"] = json!(kind.api_version());
    object["kind"] = json!(kind.kind());
    kind.default(object);
    writer.update(None, object);
    let (uid, suffix) = (stamp.uid(), stamp.suffix());
    let meta = Meta::of(object);
    let generated = meta.name().is_empty().then(|| {
        let base: String = meta.generate_name().chars().take(63 - SUFFIX).collect();
        format!("{base}{suffix}")
    });
    let metadata = metadata_mut(object);
    if let Some(name) = generated {
        metadata.insert("name".into(), name.into());
    }
    metadata.insert("uid".into(), uid.into());
    metadata.insert("creationTimestamp".into(), now.into());
    let admission = Admission {
        requester: Requester::default(),
        now,
        subresource: None,
        objects: &Stored(snapshot),
    };
    kind.admit(object, None, &admission).map_err(|denied| {
        let name = Meta::of(object).name();
        let resource = kind.resource();
        format!("{resource} \"{name}\" is forbidden: {denied}")
    })
}
