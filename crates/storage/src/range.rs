//! Ranges of a database: read in order, and compacted.

use rocksdb::{
    BottommostLevelCompaction, CompactOptions, DB, Direction, IteratorMode, ReadOptions,
};

/// A key and its value.
pub(crate) type Pair = (Box<[u8]>, Box<[u8]>);

/// What lies from one key on and below another, as of now.
pub(crate) fn read(
    db: &DB,
    start: &[u8],
    end: &[u8],
) -> impl Iterator<Item = Result<Pair, rocksdb::Error>> {
    let mut read = ReadOptions::default();
    read.fill_cache(false);
    read.set_verify_checksums(true);
    read.set_iterate_upper_bound(end);
    db.iterator_opt(IteratorMode::From(start, Direction::Forward), read)
}

/// Writes all files of a range anew, so that nothing overwritten or deleted is left in them.
pub(crate) fn compact(db: &DB, start: &[u8], end: &[u8]) {
    let mut options = CompactOptions::default();
    options.set_exclusive_manual_compaction(false);
    options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
    db.compact_range_opt(Some(start), Some(end), &options);
}
