//! Rules of apply, one by one, and a long random history with its invariants.

use kontiki_base::random::{Random, SeededRandom};

use super::*;

fn key(name: &str) -> Key {
    Key::new("pods", "default", name)
}

fn header(uid: &str, node: &str) -> Header {
    let fields = vec![(Arc::from("spec.nodeName"), Arc::from(node))];
    Header {
        uid: Arc::from(uid),
        fields,
        owners: vec![Arc::from("rs-1")],
        ..Header::default()
    }
}

fn create(name: &str, uid: &str) -> Op {
    let bytes = Bytes::from(format!(r#"{{"metadata":{{"name":"{name}"}}}}"#));
    Op::Create {
        key: key(name),
        header: header(uid, ""),
        bytes,
    }
}

fn update(name: &str, uid: &str, node: &str, pre: Precondition) -> Op {
    let bytes = Bytes::from(format!(
        r#"{{"metadata":{{"name":"{name}"}},"n":"{node}"}}"#
    ));
    Op::Update {
        key: key(name),
        pre,
        header: header(uid, node),
        bytes,
    }
}

struct Machine(State);

impl Machine {
    fn new() -> Self {
        Self(State::new())
    }

    fn command(&mut self, command: &Command) -> Applied {
        let applied = self.0.apply(self.0.view.index + 1, 3, command);
        self.0.validate().unwrap();
        applied
    }

    fn propose(&mut self, proposal: Proposal) -> Vec<OpResult> {
        let applied = self.command(&Command::Batch {
            proposals: vec![proposal],
        });
        applied.results.into_iter().next().unwrap()
    }

    fn one(&mut self, op: Op) -> OpResult {
        self.propose(Proposal::batch(vec![op])).remove(0)
    }
}

fn revision(result: &OpResult) -> Revision {
    match result {
        OpResult::Done {
            revision,
            object: Some(object),
        } => {
            assert_eq!(object.revision, *revision);
            *revision
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_write_takes_the_next_revision_and_a_no_op_takes_none() {
    let mut machine = Machine::new();
    assert_eq!(revision(&machine.one(create("a", "u1"))), 1);
    let bind = update("a", "u1", "n1", Precondition::revision(1));
    assert_eq!(revision(&machine.one(bind)), 2);
    let again = update("a", "u1", "n1", Precondition::uid("u1"));
    assert_eq!(
        revision(&machine.one(again)),
        2,
        "equal content keeps the revision"
    );
    let object = machine.0.view.get(&key("a")).unwrap();
    assert_eq!((object.created, object.revision), (1, 2));
    let delete = Op::Delete {
        key: key("a"),
        pre: Precondition::NONE,
    };
    assert_eq!(revision(&machine.one(delete.clone())), 3);
    assert_eq!(machine.one(delete), OpResult::NotFound);
    let events = machine.0.events_since("pods", 1, 9).unwrap();
    assert_eq!(events[1].kind, EventKind::Deleted);
    assert_eq!(
        events[1].object.revision, 3,
        "a deletion is seen under its own revision"
    );
}

#[test]
fn a_create_of_equal_uid_is_its_own_retry() {
    let mut machine = Machine::new();
    machine.one(create("a", "u1"));
    machine.one(update("a", "u1", "n1", Precondition::NONE));
    assert_eq!(revision(&machine.one(create("a", "u1"))), 2);
    assert_eq!(
        machine.one(create("a", "u2")),
        OpResult::AlreadyExists { current: 2 }
    );
}

#[test]
fn preconditions_tell_another_revision_from_another_object() {
    let mut machine = Machine::new();
    machine.one(create("a", "u1"));
    let conflict = |uid_mismatch| OpResult::Conflict {
        current: 1,
        uid_mismatch,
    };
    assert_eq!(
        machine.one(update("a", "u1", "n", Precondition::revision(9))),
        conflict(false)
    );
    assert_eq!(
        machine.one(update("a", "u1", "n", Precondition::uid("u2"))),
        conflict(true)
    );
    let forged = update("a", "u2", "n", Precondition::NONE);
    assert_eq!(
        machine.one(forged),
        conflict(true),
        "an update never changes a uid"
    );
    let delete = Op::Delete {
        key: key("a"),
        pre: Precondition::uid("u2"),
    };
    assert_eq!(machine.one(delete), conflict(true));
    assert_eq!(machine.0.view.revision, 1);
}

#[test]
fn a_transaction_is_all_or_nothing() {
    let mut machine = Machine::new();
    machine.one(create("a", "u1"));
    let missing = Op::Check {
        key: key("ns"),
        pre: Precondition::NONE,
        not_deleting: true,
    };
    let results = machine.propose(Proposal::transaction(vec![create("b", "u2"), missing]));
    assert_eq!(results, [OpResult::Aborted, OpResult::NotFound]);
    let twice = vec![create("b", "u2"), create("b", "u2")];
    let results = machine.propose(Proposal::transaction(twice));
    assert_eq!(
        results[1],
        OpResult::Conflict {
            current: 0,
            uid_mismatch: false
        }
    );
    assert_eq!(machine.0.view.len(), 1);
    let there = Op::Check {
        key: key("a"),
        pre: Precondition::uid("u1"),
        not_deleting: true,
    };
    let results = machine.propose(Proposal::transaction(vec![there, create("b", "u2")]));
    assert!(results.iter().all(OpResult::is_done), "{results:?}");
}

#[test]
fn a_check_refuses_what_is_being_deleted() {
    let mut machine = Machine::new();
    let deleting = Header {
        deleting: true,
        ..header("u1", "")
    };
    machine.one(Op::Create {
        key: key("a"),
        header: deleting,
        bytes: Bytes::from("{}"),
    });
    let check = |not_deleting| Op::Check {
        key: key("a"),
        pre: Precondition::NONE,
        not_deleting,
    };
    assert_eq!(machine.one(check(true)), OpResult::Deleting);
    assert!(machine.one(check(false)).is_done());
}

#[test]
fn the_fence_refuses_another_term() {
    let mut machine = Machine::new();
    let results = machine.propose(Proposal::batch(vec![create("a", "u1")]).fenced(2));
    assert_eq!(results, [OpResult::Fenced { term: 3 }]);
    assert!(machine.propose(Proposal::batch(vec![create("a", "u1")]).fenced(3))[0].is_done());
}

#[test]
fn changes_are_the_net_effect_of_an_entry() {
    let mut machine = Machine::new();
    machine.one(create("c", "u0"));
    let delete = |name: &str| Op::Delete {
        key: key(name),
        pre: Precondition::NONE,
    };
    let ops = vec![
        create("a", "u1"),
        delete("a"),
        create("a", "u2"),
        create("b", "u3"),
    ];
    let proposals = vec![
        Proposal::batch(ops),
        Proposal::batch(vec![delete("b"), delete("c")]),
    ];
    let applied = machine.command(&Command::Batch { proposals });
    assert_eq!(applied.puts.len(), 1);
    assert_eq!(
        (&applied.puts[0].key, &*applied.puts[0].header.uid),
        (&key("a"), "u2")
    );
    assert_eq!(applied.deletes, [key("c"), key("b")]);
    assert_eq!(applied.origin.revision, 7);
}

#[test]
fn settings_are_objects_and_compaction_never_passes_the_present() {
    let mut machine = Machine::new();
    let name: Arc<str> = Arc::from("level");
    for value in ["1", "2", "2"] {
        let value = Bytes::from(value);
        let command = Command::Configure {
            name: Arc::clone(&name),
            value,
        };
        assert!(machine.command(&command).results[0][0].is_done());
    }
    let setting = machine.0.view.find(CONFIGURATION, "", "level").unwrap();
    assert_eq!((&*setting.bytes, setting.revision), (&b"2"[..], 2));
    machine.command(&Command::Compact { below: 2 });
    assert_eq!(machine.0.view.compacted, 1);
    assert!(machine.0.events_since(CONFIGURATION, 0, 9).is_err());
    assert_eq!(
        machine.0.events_since(CONFIGURATION, 1, 9).unwrap().len(),
        1
    );
    machine.command(&Command::Compact { below: 99 });
    assert_eq!(machine.0.view.compacted, 2);
}

/// A random operation over few names, so that conflicts, retries and deletions all happen.
fn random_op(random: &SeededRandom) -> Op {
    let name = format!("p{}", random.below(8));
    let uid = format!("u{}", random.below(3));
    let node = format!("n{}", random.below(3));
    let pre = match random.below(3) {
        0 => Precondition::NONE,
        1 => Precondition::uid(uid.as_str()),
        _ => Precondition::revision(random.below(60)),
    };
    match random.below(5) {
        0 | 1 => create(&name, &uid),
        2 => update(&name, &uid, &node, pre),
        3 => Op::Delete {
            key: key(&name),
            pre,
        },
        _ => Op::Check {
            key: key(&name),
            pre,
            not_deleting: true,
        },
    }
}

#[test]
fn replicas_agree_and_storage_rebuilds_the_same_state() {
    for seed in 0..40 {
        let random = SeededRandom::new(seed);
        let (mut one, mut two) = (Machine::new(), Machine::new());
        let mut disk = std::collections::BTreeMap::new();
        for _ in 0..60 {
            let ops: Vec<Op> = (0..=random.below(4)).map(|_| random_op(&random)).collect();
            let atomic = random.below(2) == 0;
            let refusal = one.0.snapshot().refusal(&ops);
            let proposal = Proposal {
                ops,
                atomic,
                fence: None,
                id: 0,
            };
            let command = Command::Batch {
                proposals: vec![proposal],
            };
            let before = one.0.snapshot();
            let applied = one.command(&command);
            let decoded = Command::decode(&command.encode()).unwrap();
            assert_eq!(applied.results, two.command(&decoded).results);
            let failed = applied.results[0].iter().any(|result| !result.is_done());
            let told = |(_, result): &(usize, &OpResult)| {
                !result.is_done() && **result != OpResult::Aborted
            };
            let first = applied.results[0].iter().enumerate().find(told);
            if atomic {
                let first = first.map(|(idx, result)| (idx, result.clone()));
                assert_eq!(refusal, first, "what a dry run says is what happens");
            }
            if atomic && failed {
                assert_eq!(
                    before.hash(),
                    one.0.hash(),
                    "a failed transaction changes nothing"
                );
            }
            applied
                .deletes
                .iter()
                .for_each(|key| drop(disk.remove(key)));
            for object in &applied.puts {
                disk.insert(object.key.clone(), object.encode());
            }
        }
        assert_eq!(one.0.hash(), two.0.hash());
        let objects = disk.values().map(|bytes| Object::decode(bytes).unwrap());
        let loaded = State::load(one.0.origin(), objects).unwrap();
        loaded.validate().unwrap();
        assert_eq!(loaded.hash(), one.0.hash());
        let floor = loaded.origin().revision;
        assert_eq!(loaded.events_since("pods", 0, 9).unwrap_err().oldest, floor);
    }
}

#[test]
fn stored_objects_that_contradict_each_other_are_refused() {
    let object = |revision| {
        Object::new(
            key("a"),
            revision,
            1,
            header("u", ""),
            Bytes::from_static(b"{}"),
        )
    };
    let origin = Origin {
        revision: 5,
        compacted: 0,
        index: 9,
        term: 1,
    };
    assert!(
        State::load(origin, [object(6)])
            .unwrap_err()
            .to_string()
            .contains("after 5")
    );
    let twice = State::load(origin, [object(4), object(4)]);
    assert!(twice.unwrap_err().to_string().contains("stored twice"));
}

#[test]
#[should_panic(expected = "again")]
fn an_entry_is_applied_once() {
    let mut state = State::new();
    state.apply(4, 1, &Command::Compact { below: 0 });
    state.apply(4, 1, &Command::Compact { below: 0 });
}
