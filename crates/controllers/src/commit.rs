//! From a plan's writes to operations, as the API would make them: identity, defaults, generation, grace, finalizers,
//! managed fields, the addresses that a Service holds.
//!
//! Two steps, so that the API server's admission can stand between them: `draft` makes of each creation the object as
//! admission sees it, `settle` makes operations of what is left. Pure: time, uids and suffixes come in with a `Stamp`.
//! The manager and the tests commit by the same code.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use kontiki_api::managed_fields::Writer;
use kontiki_api::meta::{Meta, metadata_mut};
use kontiki_api::{Kind, Kinds, Subresource, stored, time};
use kontiki_state::{Header, Key, Object, Op, Precondition, Snapshot};
use serde_json::{Value, json};

mod draft;
mod failure;

pub use draft::{Drafts, draft};
pub use failure::REPLICA_FAILURE;

use crate::hash::ALPHABET;
use crate::plan::{EventNote, Propagation, Write};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";
/// Grace of a pod that names none.
const DEFAULT_GRACE_SECONDS: i64 = 30;
/// Length of generated suffixes.
const SUFFIX: usize = 5;
/// Claims on addresses, as the API server keeps them.
const CLAIMED_IPS: &str = "clusterips.internal";
const CLAIMED_PORTS: &str = "nodeports.internal";

/// What pure code cannot know.
pub struct Stamp<'a> {
    /// Now.
    pub now_ms: u64,
    /// 64 random bits.
    pub bits: &'a mut dyn FnMut() -> u64,
}

impl Stamp<'_> {
    fn uid(&mut self) -> String {
        let (high, low) = ((self.bits)(), (self.bits)());
        let high = (high & !0xf000) | 0x4000;
        let low = (low & !(0xc0 << 56)) | (0x80 << 56);
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        )
    }

    fn suffix(&mut self) -> String {
        let letter = |_| ALPHABET[((self.bits)() % ALPHABET.len() as u64) as usize] as char;
        (0..SUFFIX).map(letter).collect()
    }
}

/// A plan's writes as operations.
#[derive(Debug, Default)]
pub struct Committed {
    /// In order.
    pub ops: Vec<Op>,
    /// Events that go with creations, and the index of their operation.
    pub announced: Vec<(usize, EventNote)>,
    /// Creations that admission refused, in words.
    pub refused: Vec<String>,
    /// Events about those.
    pub complaints: Vec<EventNote>,
}

/// Operations for `writes` of the field manager `manager`. Of two writes to one object the later is left for the next
/// reconcile.
pub fn commit(
    kinds: &Kinds,
    snapshot: &Snapshot,
    writes: Vec<Write>,
    manager: &str,
    stamp: &mut Stamp<'_>,
) -> Committed {
    let drafts = draft(kinds, snapshot, writes, manager, stamp);
    settle(kinds, snapshot, drafts, manager, stamp.now_ms)
}

/// The second step: operations of what was drafted.
pub fn settle(
    kinds: &Kinds,
    snapshot: &Snapshot,
    mut drafts: Drafts,
    manager: &str,
    now_ms: u64,
) -> Committed {
    let now = time::rfc3339(now_ms);
    if let Some((about, why)) = drafts.failing.take() {
        failure::note(snapshot, &mut drafts.writes, &about, &why, &now);
    }
    let writer = |resource: &str| Some(Writer::new(kinds.by_resource(resource)?, manager, &now));
    let mut committed = Committed {
        refused: drafts.refused,
        complaints: drafts.complaints,
        ..Committed::default()
    };
    let mut written = BTreeSet::new();
    for write in drafts.writes {
        let (ops, announce) = match write {
            Write::Create {
                resource,
                object,
                announce,
            } => {
                let kind = kinds.by_resource(&resource);
                let ops = kind.map(|kind| create(kind, object));
                (ops.unwrap_or_default(), announce)
            }
            Write::Update {
                key,
                revision,
                object,
                status_only,
            } => {
                if !written.insert(key.clone()) {
                    continue;
                }
                let writer = writer(&key.resource);
                let pre = Precondition::revision(revision);
                let ops =
                    writer.map(|writer| update(snapshot, &key, writer, pre, object, status_only));
                (ops.unwrap_or_default(), None)
            }
            Write::Delete {
                key,
                uid,
                revision,
                grace_seconds,
                propagation,
            } => {
                if !written.insert(key.clone()) {
                    continue;
                }
                let wanted = snapshot.get(&key).filter(|object| {
                    object.header.uid == uid && revision.is_none_or(|it| it == object.revision)
                });
                let ops =
                    wanted.map(|object| delete(kinds, &object, grace_seconds, propagation, now_ms));
                (ops.unwrap_or_default(), None)
            }
        };
        if let (Some(announce), Some(op)) = (announce, ops.first()) {
            let mut note: EventNote = announce.note;
            note.message = note.message.replacen("{}", &op.key().name, 1);
            committed.announced.push((committed.ops.len(), note));
        }
        committed.ops.extend(ops);
    }
    committed
}

/// The state's header of an object.
pub fn header_of(kind: &Kind, object: &Value) -> Header {
    let parts = stored::header_of(kind, object);
    let shared = |pairs: Vec<(String, String)>| {
        pairs
            .into_iter()
            .map(|(key, value)| (key.into(), value.into()))
            .collect()
    };
    Header {
        uid: parts.uid.into(),
        labels: shared(parts.labels),
        fields: shared(parts.fields),
        owners: parts.owners.into_iter().map(Arc::from).collect(),
        deleting: parts.deleting,
    }
}

/// Operations that make a drafted object.
fn create(kind: &Kind, mut object: Value) -> Vec<Op> {
    // Not earlier: a Job's labels carry its uid and its name.
    kind.prepare_create(&mut object);
    let meta = Meta::of(&object);
    let key = Key::new(kind.resource().clone(), meta.namespace(), meta.name());
    let header = header_of(kind, &object);
    let owner = json!({"service": format!("{}/{}", key.namespace, key.name)}).to_string();
    let claimed = claims(&key, &object)
        .into_iter()
        .map(|(resource, claim)| Op::Create {
            key: Key::new(resource, "", claim),
            header: Header {
                uid: header.uid.clone(),
                ..Header::default()
            },
            bytes: Bytes::from(owner.clone()),
        });
    let mut ops: Vec<Op> = claimed.collect();
    let bytes = stored::canonical(object);
    ops.insert(0, Op::Create { key, header, bytes });
    ops
}

fn update(
    snapshot: &Snapshot,
    key: &Key,
    writer: Writer<'_>,
    pre: Precondition,
    mut object: Value,
    status_only: bool,
) -> Vec<Op> {
    let (kind, Some(current)) = (writer.kind(), snapshot.get(key)) else {
        return Vec::new();
    };
    if is_finished(&object) {
        return remove(&current, pre);
    }
    let counts = !status_only && kind.counts_generation();
    if counts || Meta::of(&object).is_tracked() {
        let old = current.value();
        if status_only {
            let writer = writer.to(Some(Subresource::Status));
            writer.update(Some(&old), &mut object);
        } else {
            writer.update_parts(&old, &mut object);
        }
        if counts {
            kind.count_generation(&mut object, &old);
        }
    }
    let header = header_of(kind, &object);
    vec![Op::Update {
        key: key.clone(),
        pre,
        header,
        bytes: stored::canonical(object),
    }]
}

/// Whether nothing holds an object any longer that is being deleted.
pub fn is_finished(object: &Value) -> bool {
    let meta = Meta::of(object);
    let grace = meta
        .get("deletionGracePeriodSeconds")
        .and_then(Value::as_i64)
        .unwrap_or(0);
    let held = object["kind"] == "Namespace"
        && object["spec"]["finalizers"]
            .as_array()
            .is_some_and(|list| !list.is_empty());
    meta.is_deleting() && grace == 0 && meta.finalizers().is_empty() && !held
}

/// What the API's delete would do.
fn delete(
    kinds: &Kinds,
    object: &Object,
    grace: Option<i64>,
    propagation: Propagation,
    now_ms: u64,
) -> Vec<Op> {
    let Some(kind) = kinds.by_resource(&object.key.resource) else {
        return Vec::new();
    };
    let old = object.value();
    let mut new = old.clone();
    let grace = if kind.graceful_delete() {
        pod_grace(&old, grace)
    } else {
        0
    };
    let pending = Meta::of(&old)
        .get("deletionGracePeriodSeconds")
        .and_then(Value::as_i64);
    if !object.header.deleting {
        set_propagation(&mut new, propagation);
        mark(&mut new, now_ms + grace.unsigned_abs() * 1000, grace);
        kind.prepare_delete(&mut new, &time::rfc3339(now_ms));
        if kind.counts_generation() {
            let generation = new["metadata"]["generation"].as_i64().unwrap_or(0);
            new["metadata"]["generation"] = json!(generation + 1);
        }
        if kind.kind() == "Namespace" {
            new["status"]["phase"] = json!("Terminating");
        }
    } else if pending.is_some_and(|pending| grace < pending) {
        mark(&mut new, now_ms + grace.unsigned_abs() * 1000, grace);
    }
    let pre = Precondition::revision(object.revision);
    if is_finished(&new) {
        return remove(object, pre);
    }
    if new == old {
        return Vec::new();
    }
    let header = header_of(kind, &new);
    vec![Op::Update {
        key: object.key.clone(),
        pre,
        header,
        bytes: stored::canonical(new),
    }]
}

fn mark(object: &mut Value, at_ms: u64, grace: i64) {
    let metadata = metadata_mut(object);
    metadata.insert("deletionTimestamp".into(), time::rfc3339(at_ms).into());
    metadata.insert("deletionGracePeriodSeconds".into(), grace.into());
}

/// A pod that no node runs needs no grace.
fn pod_grace(pod: &Value, requested: Option<i64>) -> i64 {
    let unbound = pod["spec"]["nodeName"]
        .as_str()
        .unwrap_or_default()
        .is_empty();
    if unbound
        || matches!(
            pod["status"]["phase"].as_str(),
            Some("Succeeded" | "Failed")
        )
    {
        return 0;
    }
    let own = pod["spec"]["terminationGracePeriodSeconds"].as_i64();
    requested.or(own).unwrap_or(DEFAULT_GRACE_SECONDS).max(0)
}

fn set_propagation(object: &mut Value, propagation: Propagation) {
    let metadata = metadata_mut(object);
    let mut finalizers: Vec<String> = metadata
        .get("finalizers")
        .and_then(|list| serde_json::from_value(list.clone()).ok())
        .unwrap_or_default();
    let wanted = match propagation {
        Propagation::Background => None,
        Propagation::Foreground => Some(FOREGROUND),
        Propagation::Orphan => Some(ORPHAN),
    };
    if let Some(wanted) = wanted.filter(|wanted| !finalizers.iter().any(|name| name == wanted)) {
        finalizers.push(wanted.into());
        metadata.insert("finalizers".into(), json!(finalizers));
    }
}

fn remove(object: &Object, pre: Precondition) -> Vec<Op> {
    let mut ops = vec![Op::Delete {
        key: object.key.clone(),
        pre,
    }];
    for (resource, claim) in claims(&object.key, &object.value()) {
        let pre = Precondition::uid(object.header.uid.clone());
        ops.push(Op::Delete {
            key: Key::new(resource, "", claim),
            pre,
        });
    }
    ops
}

/// The addresses that a Service holds.
fn claims(key: &Key, service: &Value) -> Vec<(&'static str, String)> {
    if &*key.resource != "services" {
        return Vec::new();
    }
    let spec = &service["spec"];
    let ips = spec["clusterIPs"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    let ips = ips.filter(|ip| !ip.is_empty() && *ip != "None");
    let ports = spec["ports"].as_array().into_iter().flatten();
    let node_ports = ports
        .filter_map(|port| port["nodePort"].as_u64())
        .filter(|port| *port > 0);
    let health = spec["healthCheckNodePort"]
        .as_u64()
        .filter(|port| *port > 0);
    let node_ports: BTreeSet<u64> = node_ports.chain(health).collect();
    let ips = ips.map(|ip| (CLAIMED_IPS, ip.to_owned()));
    ips.chain(
        node_ports
            .into_iter()
            .map(|port| (CLAIMED_PORTS, port.to_string())),
    )
    .collect()
}
