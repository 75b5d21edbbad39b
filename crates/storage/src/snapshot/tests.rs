//! Snapshots in transfer and on disk: whole ones arrive, damaged and incomplete ones are refused and leave nothing.

use kontiki_state::State;

use super::*;
use crate::state::tests::{apply, create, dir};

fn sample(root: &Path) -> (DataDir, SnapshotDir) {
    let dir = dir(&root.join("source"));
    let (mut state, store) = (State::new(), StateStore::open(&dir).unwrap());
    for index in 1..=30 {
        apply(
            &mut state,
            &store,
            index,
            &create(&format!("c{index}"), 100_000),
        );
    }
    let snapshot = SnapshotDir::build(&dir, &store, "build").unwrap();
    (dir, snapshot)
}

fn send(from: &SnapshotDir, to: &DataDir, damage: Option<usize>) -> Result<SnapshotDir, Error> {
    let mut receiver = Receiver::begin(to, from.manifest().clone(), 7)?;
    for (n, chunk) in from.chunks().enumerate() {
        let (name, offset, mut bytes) = chunk?;
        let sum = crc32fast::hash(&bytes);
        if damage == Some(n) {
            bytes[0] ^= 1;
        }
        receiver.chunk(&name, offset, &bytes, sum)?;
    }
    receiver.finish()
}

#[test]
fn a_snapshot_travels_in_chunks_and_arrives_whole() {
    let temp = tempfile::tempdir().unwrap();
    let (_, snapshot) = sample(temp.path());
    let target = dir(&temp.path().join("target"));
    assert!(SnapshotDir::newest(&target).unwrap().is_none());
    let arrived = send(&snapshot, &target, None).unwrap();
    assert_eq!(arrived.manifest(), snapshot.manifest());
    let found = SnapshotDir::newest(&target).unwrap().unwrap();
    assert_eq!(found.path(), arrived.path());
    let again = send(&snapshot, &target, None).unwrap();
    arrived.retire();
    drop(arrived);
    drop(found);
    assert!(
        again.path().exists(),
        "an old handle does not take the new directory with it"
    );
}

#[test]
fn a_damaged_or_incomplete_transfer_is_refused_and_leaves_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let (_, snapshot) = sample(temp.path());
    let target = dir(&temp.path().join("target"));
    for n in 0..snapshot.chunks().count() {
        let error = send(&snapshot, &target, Some(n)).err().unwrap().to_string();
        assert!(error.contains("checksum differs"), "{error}");
    }
    let mut receiver = Receiver::begin(&target, snapshot.manifest().clone(), 1).unwrap();
    let (name, offset, bytes) = snapshot.chunks().next().unwrap().unwrap();
    assert!(
        receiver
            .chunk("../evil", 0, b"", crc32fast::hash(b""))
            .is_err()
    );
    assert!(
        receiver
            .chunk(&name, offset + 1, &bytes, crc32fast::hash(&bytes))
            .is_err()
    );
    let mut receiver = Receiver::begin(&target, snapshot.manifest().clone(), 1).unwrap();
    receiver
        .chunk(&name, offset, &bytes, crc32fast::hash(&bytes))
        .unwrap();
    assert!(
        receiver
            .finish()
            .err()
            .unwrap()
            .to_string()
            .contains("missing")
    );
    assert_eq!(
        files::names(&target.snapshots()).unwrap(),
        Vec::<String>::new()
    );
}

#[test]
fn a_flipped_bit_on_disk_keeps_a_snapshot_from_being_installed() {
    let temp = tempfile::tempdir().unwrap();
    let (_, snapshot) = sample(temp.path());
    let file = &snapshot
        .manifest()
        .files
        .iter()
        .find(|f| f.name.ends_with(".sst"))
        .unwrap()
        .name;
    let path = snapshot.path().join(file);
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] ^= 4;
    fs::write(&path, bytes).unwrap();
    let target = StateStore::open(&dir(&temp.path().join("target"))).unwrap();
    let error = target.install(&snapshot).err().unwrap().to_string();
    assert!(error.contains("differs from the manifest"), "{error}");
    assert!(target.meta().applied.is_none(), "the old state stays");
}

#[test]
fn a_manifest_that_names_a_path_is_refused() {
    let sum = FileSum {
        name: "../../etc/passwd".into(),
        size_bytes: 1,
        sum: 0,
    };
    let manifest = Manifest {
        applied: None,
        membership: Vec::new(),
        revision: 1,
        files: vec![sum],
    };
    let error = Manifest::decode(Path::new("m"), &manifest.encode())
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("file name"), "{error}");
}
