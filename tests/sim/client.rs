//! Clients: creates, updates with preconditions, deletes and linearizable reads of a few contended keys.

use std::sync::Arc;
use std::time::Duration;

use kontiki_state::{Command, Header, Key, Op, OpResult, Precondition, Proposal};
use openraft::ReadPolicy;
use tokio::time::Instant;

use crate::oracle::{Read, Write, content};
use crate::types::{Data, Id};
use crate::world::World;

const KEYS: u64 = 3;
const TIMEOUT: Duration = Duration::from_millis(1500);

/// Works until the faults end.
pub async fn work(world: Arc<World>, client: u64, until: Instant) {
    let mut n = 0;
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(world.below(40))).await;
        let replica = 1 + world.below(3);
        let key = Key::new("things", "default", format!("key-{}", world.below(KEYS)));
        n += 1;
        if world.below(3) == 0 {
            read(&world, replica, key).await;
        } else {
            write(&world, replica, key, format!("{client}-{n}")).await;
        }
    }
}

async fn read(world: &World, replica: Id, key: Key) {
    let (Some(raft), Some(machine)) = (world.raft(replica), world.machine(replica)) else {
        return;
    };
    let asked = world.oracle.now();
    let barrier = tokio::time::timeout(TIMEOUT, raft.ensure_linearizable(ReadPolicy::ReadIndex));
    if !matches!(barrier.await, Ok(Ok(_))) {
        return;
    }
    let snapshot = machine.replica.lock().state.snapshot();
    let object = snapshot.get(&key);
    let found = object.map(|object| (content(&object.bytes), object.revision));
    world.oracle.read(Read {
        key,
        asked,
        store: snapshot.revision(),
        found,
    });
}

async fn write(world: &World, replica: Id, key: Key, unique: String) {
    let (Some(raft), Some(machine)) = (world.raft(replica), world.machine(replica)) else {
        return;
    };
    // What this replica has may be old: preconditions must hold all the same.
    let stored = machine.replica.lock().state.snapshot().get(&key);
    let body = |uid: &str| {
        let value = serde_json::json!({
            "content": unique, "metadata": { "name": &*key.name, "uid": uid },
        });
        bytes::Bytes::from(value.to_string())
    };
    let header = |uid: &str| Header {
        uid: uid.into(),
        ..Header::default()
    };
    let (op, written) = match &stored {
        None => {
            let op = Op::Create {
                key: key.clone(),
                header: header(&unique),
                bytes: body(&unique),
            };
            (op, Some(unique.clone()))
        }
        Some(object) => {
            let uid = &object.header.uid;
            let pre = Precondition {
                uid: Some(uid.clone()),
                revision: Some(object.revision),
            };
            if world.below(4) == 0 {
                (
                    Op::Delete {
                        key: key.clone(),
                        pre,
                    },
                    None,
                )
            } else {
                let op = Op::Update {
                    key: key.clone(),
                    pre,
                    header: header(uid),
                    bytes: body(uid),
                };
                (op, Some(unique.clone()))
            }
        }
    };
    let command = Command::Batch {
        proposals: vec![Proposal::batch(vec![op])],
    };
    let asked = world.oracle.now();
    let unknown = Write {
        key: key.clone(),
        content: written,
        asked,
        told: None,
    };
    let proposed = raft.client_write(Data(command.encode()));
    match tokio::time::timeout(TIMEOUT, proposed).await {
        Ok(Ok(answer)) => told(world, unknown, &answer.data.0),
        // Surely not proposed: another replica leads.
        Ok(Err(error)) if error.forward_to_leader().is_some() => {}
        Ok(Err(_)) | Err(_) => world.oracle.wrote(unknown),
    }
}

fn told(world: &World, write: Write, answer: &[u8]) {
    let results = OpResult::decode_all(answer).unwrap();
    let now = world.oracle.now();
    match results.first().unwrap() {
        OpResult::Done { revision, .. } => {
            world.oracle.wrote(Write {
                told: Some((now, *revision)),
                ..write
            });
        }
        OpResult::Conflict { current, .. } => {
            world.oracle.refused(write.key, write.asked, *current);
        }
        OpResult::AlreadyExists { .. } | OpResult::NotFound => {}
        other => panic!("{write:?} got {other:?}"),
    }
}
