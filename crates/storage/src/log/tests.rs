//! The log over restarts: entries come back without a hole, and a log that lost something is refused.

use std::sync::mpsc;

use bytes::Bytes;

use super::*;
use crate::{Identity, Resources, Sealing};

fn dir(root: &Path) -> DataDir {
    DataDir::open(
        root,
        &Identity {
            cluster_id: "test".into(),
            replica_id: 1,
        },
    )
    .unwrap()
}

fn entries(term: u64, range: Range<u64>) -> Vec<Entry> {
    let entry = |index: u64| Entry {
        id: LogId { term, index },
        payload: Bytes::from(format!("{term}/{index}")),
    };
    range.map(entry).collect()
}

fn wait(ask: impl FnOnce(Done)) {
    let (sender, receiver) = mpsc::channel();
    ask(Box::new(move || sender.send(()).unwrap()));
    receiver.recv().unwrap();
}

fn id(term: u64, index: u64) -> Option<LogId> {
    Some(LogId { term, index })
}

#[test]
fn entries_are_readable_at_once_and_after_a_restart() {
    let temp = tempfile::tempdir().unwrap();
    let dir = dir(temp.path());
    let vote = Vote {
        term: 3,
        voted_for: 1,
        committed: true,
    };
    {
        let log = LogStore::open(&dir).unwrap();
        assert_eq!((log.last(), log.purged(), log.vote()), (None, None, None));
        log.append(entries(1, 0..5), Box::new(|| {}));
        assert_eq!(
            log.entries(1..3, usize::MAX).unwrap(),
            entries(1, 1..3),
            "before the sync"
        );
        wait(|done| log.append(entries(3, 5..8), done));
        wait(|done| log.save_vote(vote, done));
        log.save_committed(id(3, 6));
        assert_eq!(
            log.entries(0..100, 1).unwrap().len(),
            1,
            "a byte limit still yields one"
        );
        log.close();
    }
    let log = LogStore::open(&dir).unwrap();
    assert_eq!(
        (log.last(), log.vote(), log.committed()),
        (id(3, 7), Some(vote), id(3, 6))
    );
    let mut all = entries(1, 0..5);
    all.extend(entries(3, 5..8));
    assert_eq!(log.entries(0..100, usize::MAX).unwrap(), all);
    assert_eq!(log.id_at(4).unwrap(), id(1, 4));
    log.append(entries(4, 8..9), Box::new(|| {}));
    assert_eq!(
        log.entries(6..9, usize::MAX).unwrap().len(),
        3,
        "from disk and memory"
    );
}

#[test]
fn truncation_and_purge_leave_no_hole_and_survive_a_restart() {
    let temp = tempfile::tempdir().unwrap();
    let dir = dir(temp.path());
    {
        let log = LogStore::open(&dir).unwrap();
        wait(|done| log.append(entries(1, 0..10), done));
        wait(|done| log.truncate_after(id(1, 6), done));
        assert_eq!(log.last(), id(1, 6));
        wait(|done| log.append(entries(2, 7..9), done));
        wait(|done| log.purge(LogId { term: 1, index: 3 }, done));
        assert_eq!((log.purged(), log.last()), (id(1, 3), id(2, 8)));
        log.close();
    }
    {
        let log = LogStore::open(&dir).unwrap();
        assert_eq!((log.purged(), log.last()), (id(1, 3), id(2, 8)));
        let ids: Vec<u64> = log
            .entries(0..99, usize::MAX)
            .unwrap()
            .iter()
            .map(|e| e.id.index)
            .collect();
        assert_eq!(ids, [4, 5, 6, 7, 8]);
        wait(|done| log.purge(LogId { term: 5, index: 40 }, done));
        assert_eq!(
            (log.purged(), log.last()),
            (id(5, 40), id(5, 40)),
            "a snapshot beyond the log"
        );
        log.close();
    }
    let log = LogStore::open(&dir).unwrap();
    assert_eq!(log.last(), id(5, 40));
    wait(|done| log.append(entries(5, 41..42), done));
    assert_eq!(log.entries(0..99, usize::MAX).unwrap(), entries(5, 41..42));
}

#[test]
fn a_log_that_lost_its_end_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let dir = dir(temp.path());
    let log = LogStore::open(&dir).unwrap();
    wait(|done| log.append(entries(1, 0..10), done));
    log.close();
    drop(log);
    {
        let db = DB::open(&options::log(), dir.log()).unwrap();
        db.delete(record::key(9)).unwrap();
        db.delete(record::key(8)).unwrap();
    }
    let error = LogStore::open(&dir).err().unwrap();
    assert!(matches!(error, Error::LogLost { .. }), "{error}");
    assert!(
        error.to_string().contains("entry 7") && error.to_string().contains("new id"),
        "{error}"
    );
    std::fs::remove_dir_all(dir.log()).unwrap();
    let error = LogStore::open(&dir).err().unwrap();
    assert!(
        matches!(error, Error::LogLost { .. }),
        "a wiped log too: {error}"
    );
}

#[test]
fn a_lost_vote_a_hole_and_damage_are_refused() {
    let temp = tempfile::tempdir().unwrap();
    let dir = dir(temp.path());
    let vote = Vote {
        term: 9,
        voted_for: 2,
        committed: false,
    };
    let log = LogStore::open(&dir).unwrap();
    wait(|done| log.append(entries(1, 0..10), done));
    wait(|done| log.save_vote(vote, done));
    log.close();
    drop(log);
    let edit = |edit: &dyn Fn(&DB)| {
        let db = DB::open(&options::log(), dir.log()).unwrap();
        edit(&db);
    };
    let refused = |expected: &str| {
        let error = LogStore::open(&dir).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    };
    edit(&|db| db.delete(VOTE).unwrap());
    refused("vote of term 9");
    edit(&|db| db.put(VOTE, record::encode_meta(&vote)).unwrap());
    LogStore::open(&dir).unwrap().close();
    let good = record::encode(&Sealer::off(), &entries(1, 4..5)[0]);
    edit(&|db| db.delete(record::key(4)).unwrap());
    refused("follows");
    edit(&|db| {
        let mut bad = good.clone();
        bad[22] ^= 1;
        db.put(record::key(4), bad).unwrap();
    });
    refused("checksum differs");
    edit(&|db| db.put(record::key(4), &good).unwrap());
    std::fs::remove_file(dir.watermark()).unwrap();
    refused("missing beside a log");
}

fn sealed(root: &Path, resources: Resources) -> DataDir {
    let keyring = root.join("keys").join("ring");
    let sealer = Sealer::open(&Sealing { keyring, resources }).unwrap();
    sealer.save().unwrap();
    dir(root).sealed_by(sealer)
}

/// Whether bytes are in any file of a folder.
fn holds(folder: &Path, bytes: &[u8]) -> bool {
    let files = std::fs::read_dir(folder).unwrap();
    files
        .map(|file| std::fs::read(file.unwrap().path()).unwrap())
        .any(|content| memchr::memmem::find(&content, bytes).is_some())
}

fn mixed(range: Range<u64>) -> Vec<Entry> {
    let entry = |index: u64| Entry {
        id: LogId { term: 1, index },
        payload: match index % 2 {
            0 => Bytes::from(format!("canary {index} \x07secrets")),
            _ => Bytes::from(format!("open {index}")),
        },
    };
    range.map(entry).collect()
}

fn reseal_all(log: &LogStore) {
    let mut from = Some(0);
    while let Some(index) = from {
        from = log.reseal(index).unwrap();
    }
}

#[test]
fn entries_with_sealed_resources_are_sealed_and_are_rewritten_under_a_new_key() {
    let temp = tempfile::tempdir().unwrap();
    let plain = dir(&temp.path().join("1"));
    let log = LogStore::open(&plain).unwrap();
    wait(|done| log.append(mixed(0..10), done));
    log.close();
    assert!(holds(&plain.log(), b"canary 4"), "as older builds wrote it");
    drop(log);

    let dir = sealed(&temp.path().join("1"), Resources::default());
    let (sealer, log) = (dir.sealer().clone(), LogStore::open(&dir).unwrap());
    wait(|done| log.append(mixed(10..20), done));
    let tally = log.tally().unwrap();
    assert_eq!(tally.sealed, [(sealer.keys()[0].id, 5)].into());
    reseal_all(&log);
    log.compact_entries().unwrap();
    assert_eq!(
        log.tally().unwrap().sealed,
        [(sealer.keys()[0].id, 10)].into()
    );
    assert!(!holds(&dir.log(), b"canary"), "nothing is left of it");
    assert!(holds(&dir.log(), b"open 1"), "the rest is as it was");

    sealer.rotate(1).unwrap();
    wait(|done| log.append(mixed(20..22), done));
    reseal_all(&log);
    assert_eq!(
        log.tally().unwrap().sealed,
        [(sealer.keys()[0].id, 11)].into()
    );
    assert!(sealer.settle(sealer.epoch()).unwrap());
    assert_eq!(log.entries(0..99, usize::MAX).unwrap(), mixed(0..22));
    log.close();
    drop(log);
    let dir = sealed(&temp.path().join("1"), Resources::default());
    let log = LogStore::open(&dir).unwrap();
    assert!(dir.sealer().is_settled());
    assert_eq!(log.entries(0..99, usize::MAX).unwrap(), mixed(0..22));
    log.close();
    drop(log);

    let off = sealed(&temp.path().join("1"), Resources::NONE);
    let log = LogStore::open(&off).unwrap();
    assert!(!off.sealer().is_settled());
    reseal_all(&log);
    assert!(log.tally().unwrap().sealed.is_empty());
    assert_eq!(log.entries(0..99, usize::MAX).unwrap(), mixed(0..22));
}

#[test]
fn a_log_whose_key_is_missing_is_refused_by_its_name() {
    let temp = tempfile::tempdir().unwrap();
    let dir = sealed(temp.path(), Resources::default());
    let log = LogStore::open(&dir).unwrap();
    wait(|done| log.append(mixed(0..1), done));
    log.close();
    drop(log);
    let keyring = temp.path().join("keys").join("ring");
    std::fs::remove_file(&keyring).unwrap();
    let resources = Resources::default();
    let fresh = Sealer::open(&Sealing {
        keyring: keyring.clone(),
        resources,
    })
    .unwrap();
    let error = LogStore::open(&dir.clone().sealed_by(fresh)).err().unwrap();
    let missing = dir.sealer().keys()[0].id.to_string();
    assert!(error.to_string().contains(&missing), "{error}");
    assert!(!keyring.exists(), "no new keys hide what is missing");
}
