//! The state over restarts and its replacement by a snapshot; `apply`, `create` and `dir` serve the other modules too.

use kontiki_state::{Command, Header, Key, Op, Precondition, Proposal, State};

use super::*;
use crate::Identity;

pub(crate) fn dir(root: &Path) -> DataDir {
    DataDir::open(
        root,
        &Identity {
            cluster_id: "test".into(),
            replica_id: 1,
        },
    )
    .unwrap()
}

pub(crate) fn create(name: &str, size_bytes: usize) -> Command {
    let key = Key::new("configmaps", "default", name);
    let header = Header {
        uid: name.into(),
        ..Header::default()
    };
    let bytes = format!(
        "{{\"metadata\":{{}},\"data\":\"{}\"}}",
        "x".repeat(size_bytes)
    )
    .into();
    Command::Batch {
        proposals: vec![Proposal::batch(vec![Op::Create { key, header, bytes }])],
    }
}

pub(crate) fn apply(state: &mut State, store: &StateStore, index: u64, command: &Command) {
    let applied = state.apply(index, 1, command);
    let meta = Meta {
        origin: applied.origin,
        applied: Some(LogId { term: 1, index }),
        membership: Bytes::from_static(b"members"),
    };
    store.apply(&[applied], meta);
}

fn reload(store: &StateStore) -> State {
    State::load(store.meta().origin, store.objects().unwrap()).unwrap()
}

#[test]
fn what_was_flushed_is_there_after_a_restart() {
    let temp = tempfile::tempdir().unwrap();
    let dir = dir(temp.path());
    let mut state = State::new();
    {
        let store = StateStore::open(&dir).unwrap();
        assert_eq!(store.meta(), Meta::default());
        for index in 1..=20 {
            apply(&mut state, &store, index, &create(&format!("c{index}"), 10));
        }
        let key = Key::new("configmaps", "default", "c3");
        let delete = Op::Delete {
            key,
            pre: Precondition::NONE,
        };
        let command = Command::Batch {
            proposals: vec![Proposal::batch(vec![delete])],
        };
        apply(&mut state, &store, 21, &command);
        assert_eq!(store.needed_from(), 0, "nothing is durable yet");
        store.flush();
        assert_eq!(store.needed_from(), 22);
    }
    let store = StateStore::open(&dir).unwrap();
    assert_eq!(store.meta().applied, Some(LogId { term: 1, index: 21 }));
    assert_eq!(store.meta().membership, "members");
    let loaded = reload(&store);
    loaded.validate().unwrap();
    assert_eq!(loaded.hash(), state.hash());
}

#[test]
fn a_snapshot_replaces_the_state_in_one_step() {
    let temp = tempfile::tempdir().unwrap();
    let (one, two) = (dir(&temp.path().join("1")), dir(&temp.path().join("2")));
    let mut state = State::new();
    let source = StateStore::open(&one).unwrap();
    for index in 1..=50 {
        apply(
            &mut state,
            &source,
            index,
            &create(&format!("c{index}"), 5000),
        );
    }
    let snapshot = SnapshotDir::build(&one, &source, "build").unwrap();
    let (mut other, target) = (State::new(), StateStore::open(&two).unwrap());
    apply(&mut other, &target, 1, &create("gone", 1));
    let (meta, objects) = target.install(&snapshot).unwrap();
    assert_eq!(
        State::load(meta.origin, objects).unwrap().hash(),
        state.hash()
    );
    assert_eq!(target.needed_from(), 51);
    apply(&mut state, &target, 51, &create("later", 1));
    assert_eq!(
        reload(&target).hash(),
        state.hash(),
        "it goes on from there"
    );
    drop(target);
    let target = StateStore::open(&two).unwrap();
    assert_eq!(reload(&target).validate(), Ok(()));
    assert_eq!(files::names(&two.state()).unwrap(), ["current", "g2"]);
    let again = SnapshotDir::newest(&one).unwrap().unwrap();
    assert_eq!(
        again.manifest(),
        snapshot.manifest(),
        "the source is untouched"
    );
    again.copy_to(&temp.path().join("copy")).unwrap();
}
