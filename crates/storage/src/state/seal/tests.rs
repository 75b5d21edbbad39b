//! Records of sealed resources: not to be read on the disk, rewritten under new keys without another change, refused
//! when their key is missing or a bit of them differs.

use std::path::Path;

use kontiki_state::{Command, Object, State};

use super::*;
use crate::state::tests::{apply, create, dir};
use crate::{DataDir, Resources, Sealer, Sealing, SnapshotDir};

fn sealed(root: &Path, resources: Resources) -> DataDir {
    let keyring = root.join("keys").join("ring");
    let sealer = Sealer::open(&Sealing { keyring, resources }).unwrap();
    sealer.save().unwrap();
    dir(&root.join("data")).sealed_by(sealer)
}

fn configmaps() -> Resources {
    Resources::exactly(["configmaps"])
}

/// Whether bytes are in any file below a folder.
fn holds(folder: &Path, bytes: &[u8]) -> bool {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().path()).any(|path| {
        if path.is_dir() {
            return holds(&path, bytes);
        }
        let content = std::fs::read(path).unwrap();
        memchr::memmem::find(&content, bytes).is_some()
    })
}

fn reseal_all(store: &StateStore) {
    let mut from = store.reseal(None).unwrap();
    while let Some(key) = from {
        from = store.reseal(Some(&key)).unwrap();
    }
}

fn fill(state: &mut State, store: &StateStore, n: u64) {
    let first = state.snapshot().index() + 1;
    for index in first..first + n {
        let command: Command = create(&format!("canary-{index}"), 50);
        apply(state, store, index, &command);
    }
}

fn sorted(mut objects: Vec<Object>) -> Vec<Object> {
    objects.sort_by(|a, b| a.key.cmp(&b.key));
    objects
}

#[test]
fn sealed_objects_are_not_to_be_read_and_follow_every_change_of_key_and_setting() {
    let temp = tempfile::tempdir().unwrap();
    let mut state = State::new();
    {
        let store = StateStore::open(&dir(&temp.path().join("data"))).unwrap();
        fill(&mut state, &store, 200);
        store.flush();
        assert!(
            holds(temp.path(), b"\"metadata\":{}"),
            "as older builds wrote it"
        );
    }
    let dir = sealed(temp.path(), configmaps());
    let sealer = dir.sealer().clone();
    let store = StateStore::open(&dir).unwrap();
    let objects = sorted(store.objects().unwrap());
    assert!(!sealer.is_settled());
    assert_eq!(store.tally().unwrap().plain, 200);
    fill(&mut state, &store, 10);
    reseal_all(&store);
    store.compact_sealed().unwrap();
    store.flush();
    assert!(
        !holds(temp.path(), b"\"metadata\":{}"),
        "nothing is left of it"
    );
    let tally = store.tally().unwrap();
    assert_eq!(tally.sealed, [(sealer.keys()[0].id, 210)].into());
    assert!(sealer.settle(sealer.epoch()).unwrap());
    assert_eq!(sorted(store.objects().unwrap())[..1], objects[..1]);

    sealer.rotate(1).unwrap();
    fill(&mut state, &store, 5);
    reseal_all(&store);
    store.flush();
    assert!(sealer.settle(sealer.epoch()).unwrap());
    assert_eq!(
        store.tally().unwrap().sealed,
        [(sealer.keys()[0].id, 215)].into()
    );
    let meta = store.meta();
    store.close();
    assert!(matches!(store.reseal(None), Err(Error::Closed(_))));
    drop(store);

    let off = sealed(temp.path(), Resources::NONE);
    let store = StateStore::open(&off).unwrap();
    let loaded = State::load(meta.origin, store.objects().unwrap()).unwrap();
    assert_eq!(loaded.hash(), state.hash());
    assert!(!off.sealer().is_settled());
    reseal_all(&store);
    assert_eq!(store.tally().unwrap(), Tally::default());
    assert_eq!(store.meta(), meta, "where the state stands is as before");
}

#[test]
fn a_missing_key_and_a_damaged_record_are_refused() {
    let temp = tempfile::tempdir().unwrap();
    let dir = sealed(temp.path(), configmaps());
    let mut state = State::new();
    let store = StateStore::open(&dir).unwrap();
    fill(&mut state, &store, 1);
    store.close();
    drop(store);
    let other = dir.clone().sealed_by(Sealer::in_memory(configmaps()));
    let error = StateStore::open(&other).unwrap().objects().unwrap_err();
    let key = dir.sealer().keys()[0].id.to_string();
    let error = error.to_string();
    assert!(
        error.contains(&key) && error.contains("configmaps/default/canary-1"),
        "{error}"
    );
    let store = StateStore::open(&dir).unwrap();
    {
        let db = store.shared_db().unwrap();
        let (key, mut value) = range::read(&db, record::START, record::END)
            .next()
            .unwrap()
            .unwrap();
        let last = value.len() - 1;
        value[last] ^= 1;
        db.put(key, value).unwrap();
    }
    let error = store.objects().unwrap_err().to_string();
    assert!(error.contains("does not open with its key"), "{error}");
}

#[test]
fn a_snapshot_of_another_replica_is_read_with_its_keys_and_rewritten_with_ones_own() {
    let temp = tempfile::tempdir().unwrap();
    let one = sealed(&temp.path().join("1"), configmaps());
    let two = sealed(&temp.path().join("2"), configmaps());
    let mut state = State::new();
    let source = StateStore::open(&one).unwrap();
    fill(&mut state, &source, 3);
    let snapshot = SnapshotDir::build(&one, &source, "raft").unwrap();
    let target = StateStore::open(&two).unwrap();
    assert!(matches!(
        target.install(&snapshot),
        Err(Error::KeyMissing { .. })
    ));
    let sealer = two.sealer();
    let arriving = sealer.arriving(one.sealer().export().as_bytes()).unwrap();
    target.install(&snapshot).unwrap();
    drop(arriving);
    reseal_all(&target);
    target.flush();
    assert!(sealer.settle(sealer.epoch()).unwrap());
    assert_eq!(
        target.tally().unwrap().sealed,
        [(sealer.keys()[0].id, 3)].into()
    );
    assert_eq!(target.objects().unwrap().len(), 3);
}
