//! Events of the loops, aggregated: what repeats is one Event whose count and time grow.
//!
//! The Event's name follows from what it says, so that a new leader goes on counting where the last one stopped.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Event;
use kontiki_api::managed_fields::Writer;
use kontiki_api::{by_resource, stored, time};
use kontiki_controllers::EventNote;
use kontiki_controllers::commit::header_of;
use kontiki_state::{Key, Op, Precondition, Snapshot};
use serde_json::json;

/// Distinct events that wait; more are dropped, as events may be.
const PENDING: usize = 4096;
/// Longest message kept, in bytes (upstream's limit).
const MESSAGE_BYTES: usize = 1024;

/// Events that wait for their proposal.
#[derive(Debug)]
pub struct Recorder {
    /// Field manager of the Events.
    manager: &'static str,
    pending: BTreeMap<(String, String), Pending>,
}

#[derive(Debug)]
struct Pending {
    component: &'static str,
    note: EventNote,
    count: i32,
}

impl Recorder {
    /// A recorder of the field manager `manager`.
    pub fn new(manager: &'static str) -> Self {
        let pending = BTreeMap::new();
        Self { manager, pending }
    }

    /// Records.
    pub fn record(&mut self, component: &'static str, mut note: EventNote) {
        let mut end = note.message.len().min(MESSAGE_BYTES);
        while !note.message.is_char_boundary(end) {
            end -= 1;
        }
        note.message.truncate(end);
        let name = format!("{}.{:016x}", note.about.name, fingerprint(component, &note));
        let namespace = match &*note.about.namespace {
            "" => "default".to_owned(),
            namespace => namespace.to_owned(),
        };
        let key = (namespace, name);
        if self.pending.len() < PENDING || self.pending.contains_key(&key) {
            let pending = Pending {
                component,
                note,
                count: 0,
            };
            self.pending.entry(key).or_insert(pending).count += 1;
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Operations for up to `max` of what waits.
    pub fn take(
        &mut self,
        snapshot: &Snapshot,
        now_ms: u64,
        max: usize,
        uid: &mut dyn FnMut() -> String,
    ) -> Vec<Op> {
        let mut ops = Vec::new();
        let Some(kind) = by_resource("events") else {
            return ops;
        };
        while ops.len() < max
            && let Some(((namespace, name), pending)) = self.pending.pop_first()
        {
            let home = snapshot.find("namespaces", "", &namespace);
            if home.is_some_and(|home| !home.header.deleting) {
                let now = time::rfc3339(now_ms);
                let writer = Writer::new(kind, self.manager, &now);
                ops.extend(operation(
                    snapshot, &namespace, &name, &pending, writer, uid,
                ));
            }
        }
        ops
    }
}

fn operation(
    snapshot: &Snapshot,
    namespace: &str,
    name: &str,
    pending: &Pending,
    writer: Writer<'_>,
    uid: &mut dyn FnMut() -> String,
) -> Option<Op> {
    let (kind, now) = (writer.kind(), writer.time());
    let key = Key::new(kind.resource().clone(), namespace, name);
    if let Some(existing) = snapshot.get(&key) {
        let count = existing
            .typed::<Event>()
            .ok()
            .and_then(|event| event.count)
            .unwrap_or(1);
        let old = existing.value();
        let mut value = old.clone();
        value["count"] = json!(count.saturating_add(pending.count));
        value["lastTimestamp"] = json!(now);
        writer.update(Some(&old), &mut value);
        let (pre, header) = (
            Precondition::revision(existing.revision),
            header_of(kind, &value),
        );
        return Some(Op::Update {
            key,
            pre,
            header,
            bytes: stored::canonical(value),
        });
    }
    let note = &pending.note;
    let about = by_resource(&note.about.resource)?;
    let mut involved = json!({
        "apiVersion": about.api_version(),
        "kind": about.kind(),
        "name": &*note.about.name,
        "uid": &*note.uid,
    });
    if !note.about.namespace.is_empty() {
        involved["namespace"] = json!(&*note.about.namespace);
    }
    let mut value = json!({
        "apiVersion": kind.api_version(),
        "kind": kind.kind(),
        "metadata": {
            "name": name, "namespace": namespace, "uid": uid(), "creationTimestamp": now,
        },
        "involvedObject": involved,
        "type": if note.warning { "Warning" } else { "Normal" },
        "reason": note.reason,
        "message": note.message,
        "count": pending.count,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "eventTime": null,
        "source": {"component": pending.component},
        "reportingComponent": pending.component,
        "reportingInstance": "",
    });
    kind.default(&mut value);
    writer.update(None, &mut value);
    let header = header_of(kind, &value);
    Some(Op::Create {
        key,
        header,
        bytes: stored::canonical(value),
    })
}

/// FNV-1a (64 bits) of all that makes two events the same.
fn fingerprint(component: &str, note: &EventNote) -> u64 {
    let parts = [
        component,
        &note.about.resource,
        &note.uid,
        &note.reason,
        &note.message,
    ];
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in parts.iter().flat_map(|part| part.bytes().chain([0])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash
}
