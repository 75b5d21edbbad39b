//! The log over restarts: entries come back without a hole, and a log that lost something is refused.

use std::sync::mpsc;

use bytes::Bytes;

use super::*;
use crate::Identity;

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
    let good = record::encode(&entries(1, 4..5)[0]);
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
