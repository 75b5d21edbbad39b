//! RocksDB's settings: small memory, few files, no background chatter, checks on.

use rocksdb::{BlockBasedOptions, Cache, DBCompressionType, DBRecoveryMode, Options};

/// Bytes of one memtable.
const WRITE_BUFFER_BYTES: usize = 4 << 20;
/// Bytes of decompressed blocks kept; objects are read from memory, so this serves compaction and starts only.
const BLOCK_CACHE_BYTES: usize = 4 << 20;

fn common() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_paranoid_checks(true);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_max_write_buffer_number(2);
    options.set_max_open_files(64);
    options.set_max_background_jobs(2);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(1 << 20);
    options.set_max_manifest_file_size(4 << 20);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options.set_compression_type(DBCompressionType::Lz4);
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(BLOCK_CACHE_BYTES));
    table.set_cache_index_and_filter_blocks(true);
    options.set_block_based_table_factory(&table);
    options
}

/// For the log: what was synced is there after a crash, a torn tail that was never acknowledged is cut off.
pub(crate) fn log() -> Options {
    let mut options = common();
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_max_total_wal_size(64 << 20);
    options
}

/// For the state, whose writes skip RocksDB's own log.
pub(crate) fn state() -> Options {
    common()
}
