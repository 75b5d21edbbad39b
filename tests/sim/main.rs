//! Seeded simulation of the replicated state: Raft and `kontiki-state` over a disk, a network and a schedule of faults that
//! all follow from one number.
//!
//! Time is tokio's paused clock on one thread, so that a simulated minute takes well under a second. Replicas crash at
//! persist points (before and after each durable write), messages are dropped, delayed, reordered and duplicated,
//! replicas are cut off from one another. The oracle (`oracle.rs`) then checks what clients were told against the one
//! order of committed revisions.
//!
//! Replay one seed: `KONTIKI_SIM_SEED=17 cargo nextest run -p kontiki-tests -E 'binary(sim)' --no-capture`;
//! take more than the suite does: `KONTIKI_SIM_SEEDS=2000`.
//!
//! Deliberately absent: RocksDB and gRPC; `tests/cluster` kills those for real.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod client;
mod disk;
mod machine;
mod network;
mod oracle;
mod runtime;
mod types;
mod watch;
mod world;

use world::World;

/// Seeds that every run of the suite takes; split over tests that nextest runs side by side.
const SEEDS: u64 = 200;
const PARTS: u64 = 4;

fn run(seed: u64) -> world::Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(types::seeded(seed, World::run(seed)))
}

/// A failure is of use only if its seed brings it back.
#[test]
fn a_seed_repeats_itself() {
    for seed in [3, 7, 179] {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}

fn run_part(part: u64) {
    if let Ok(seed) = std::env::var("KONTIKI_SIM_SEED") {
        if part == 0 {
            eprintln!("{:#?}", run(seed.parse().unwrap()));
        }
        return;
    }
    let seeds = std::env::var("KONTIKI_SIM_SEEDS").map_or(SEEDS, |n| n.parse().unwrap());
    let mut total = world::Outcome::default();
    for seed in (part..seeds).step_by(PARTS as usize) {
        let outcome = run(seed);
        eprintln!("seed {seed}: {outcome:?}");
        total.add(&outcome);
    }
    // A schedule whose faults never fired, or whose clients did nothing, would prove nothing.
    eprintln!("{total:#?}");
    assert!(total.acknowledged > 20 * seeds / PARTS, "{total:#?}");
    assert!(total.crashes > seeds / PARTS, "{total:#?}");
    assert!(
        total.dropped > 0 && total.duplicated > 0 && total.partitions > 0,
        "{total:#?}"
    );
    assert!(total.unknown > 0 && total.reads > 0, "{total:#?}");
    assert!(total.snapshots > 0, "{total:#?}");
}

#[test]
fn every_history_is_linearizable_part_0() {
    run_part(0);
}

#[test]
fn every_history_is_linearizable_part_1() {
    run_part(1);
}

#[test]
fn every_history_is_linearizable_part_2() {
    run_part(2);
}

#[test]
fn every_history_is_linearizable_part_3() {
    run_part(3);
}
