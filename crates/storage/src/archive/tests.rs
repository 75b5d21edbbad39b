//! Archives restore with a later revision and their keys; a flipped bit and every cut are refused.

use std::path::PathBuf;

use kontiki_state::State;

use super::*;
use crate::state::tests::{apply, create, dir};

fn sample(root: &Path) -> (PathBuf, u64) {
    sample_of(root, dir(&root.join("source")), keys())
}

fn sample_of(root: &Path, dir: DataDir, keys: Keys) -> (PathBuf, u64) {
    let (mut state, store) = (State::new(), StateStore::open(&dir).unwrap());
    for index in 1..=5 {
        apply(
            &mut state,
            &store,
            index,
            &create(&format!("c{index}"), 200),
        );
    }
    let snapshot = SnapshotDir::build(&dir, &store, "archive").unwrap();
    let bytes: Vec<u8> = pieces(&snapshot, "old", 77, keys)
        .flat_map(|piece| piece.unwrap())
        .collect();
    let path = root.join("archive");
    std::fs::write(&path, bytes).unwrap();
    (path, state.snapshot().revision())
}

fn keys() -> Keys {
    Keys::from([("api-ca.key".to_owned(), "secret".to_owned())])
}

fn target() -> Restore {
    let identity = Identity {
        cluster_id: "new".into(),
        replica_id: 9,
    };
    Restore {
        identity,
        revision_step: 1_000_000,
    }
}

#[test]
fn an_archive_restores_into_an_empty_directory_with_a_later_revision() {
    let temp = tempfile::tempdir().unwrap();
    let (path, revision) = sample(temp.path());
    let summary = status(&path).unwrap();
    assert_eq!(
        (summary.cluster_id.as_str(), summary.revision),
        ("old", revision)
    );
    assert_eq!(summary.keys, ["api-ca.key"]);
    let root = temp.path().join("restored");
    let (_, restored) = restore(&path, &root, &target(), |id| {
        Bytes::from(format!("alone since {}", id.index))
    })
    .unwrap();
    assert_eq!(restored, keys());
    let (dir, identity) = DataDir::existing(&root).unwrap();
    assert_eq!(identity, target().identity);
    let store = StateStore::open(&dir).unwrap();
    let meta = store.meta();
    assert_eq!(meta.origin.revision, revision + 1_000_000);
    assert_eq!(
        meta.origin.compacted, meta.origin.revision,
        "older history is gone"
    );
    assert_eq!(meta.membership, "alone since 5");
    let state = State::load(meta.origin, store.objects().unwrap()).unwrap();
    state.validate().unwrap();
    assert_eq!(state.snapshot().count("configmaps"), 5);
    let log = LogStore::open(&dir).unwrap();
    assert_eq!(log.last(), meta.applied);
    assert_eq!(log.vote().unwrap().term, 2);
    let error = restore(&path, &root, &target(), |_| Bytes::new()).unwrap_err();
    assert!(matches!(error, Error::NotEmpty(_)), "{error}");
}

#[test]
fn archives_of_the_first_version_are_read_and_hold_no_keys() {
    let temp = tempfile::tempdir().unwrap();
    let (path, revision) = sample(temp.path());
    let mut reader = Reader::open(&path).unwrap();
    let (header, _) = reader.header().unwrap();
    let first = (header.cluster_id, header.created_unix_ms, header.manifest);
    let first = postcard::to_stdvec(&first).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let length = u32::from_be_bytes(bytes[16..20].try_into().unwrap()) as usize;
    let start = [
        &MAGIC_1[..],
        &(first.len() as u32).to_be_bytes(),
        &first,
        &crc32fast::hash(&first).to_be_bytes(),
    ];
    std::fs::write(&path, [&start.concat()[..], &bytes[24 + length..]].concat()).unwrap();
    let summary = status(&path).unwrap();
    assert_eq!((summary.revision, summary.keys), (revision, Vec::new()));
}

#[test]
fn a_flipped_bit_and_every_cut_are_refused() {
    let temp = tempfile::tempdir().unwrap();
    let (path, _) = sample(temp.path());
    let good = std::fs::read(&path).unwrap();
    let bad_path = temp.path().join("bad");
    for at in (0..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        std::fs::write(&bad_path, &bad).unwrap();
        assert!(status(&bad_path).is_err(), "bit flipped at {at}");
        std::fs::write(&bad_path, &good[..at]).unwrap();
        assert!(status(&bad_path).is_err(), "cut at {at}");
    }
    std::fs::write(&bad_path, [&good[..], b"x"].concat()).unwrap();
    assert!(status(&bad_path).is_err(), "trailing bytes");
}

#[test]
fn a_sealed_archive_brings_its_keys_and_is_restored_sealed() {
    let temp = tempfile::tempdir().unwrap();
    let sealer = Sealer::in_memory(Resources::exactly(["configmaps"]));
    let source = dir(&temp.path().join("source")).sealed_by(sealer.clone());
    let keys = Keys::from([(KEYRING.to_owned(), sealer.export())]);
    let (path, _) = sample_of(temp.path(), source, keys);
    let root = temp.path().join("restored");
    restore(&path, &root, &target(), |_| Bytes::new()).unwrap();
    let (dir, _) = DataDir::existing(&root).unwrap();
    let error = StateStore::open(&dir).unwrap().objects().unwrap_err();
    let key = sealer.keys()[0].id.to_string();
    assert!(error.to_string().contains(&key), "{error}");
    let store = StateStore::open(&dir.sealed_by(sealer)).unwrap();
    assert_eq!(store.objects().unwrap().len(), 5);

    let dir = crate::state::tests::dir(&temp.path().join("2"));
    let sealer = Sealer::in_memory(Resources::exactly(["configmaps"]));
    let (path, _) = sample_of(temp.path(), dir.sealed_by(sealer), Keys::new());
    let root = temp.path().join("without");
    let error = restore(&path, &root, &target(), |_| Bytes::new()).unwrap_err();
    assert!(matches!(error, Error::KeyMissing { .. }), "{error}");
}
