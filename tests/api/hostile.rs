//! The hostile inputs that every server meets sooner or later, one row each: the answer that each gets, and that the
//! server lives on with its memory in bounds. The numbers are those of the list that the project keeps of them.
//!
//! One server for the whole table, so that what one row leaves behind would show in the next.

mod admission;
mod bodies;
mod connections;
mod extensions;
mod floods;
mod grpc;
mod join;
mod leaks;
mod lists;
mod nodes;
mod patches;
mod rights;

use std::panic::AssertUnwindSafe;

use anyhow::{Context as _, Result, anyhow, ensure};
use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::world::World;

const MIB: u64 = 1 << 20;

/// One hostile input.
pub struct Row {
    /// Its number in the list.
    pub number: u8,
    /// What it is.
    pub what: &'static str,
    /// By how much the server's resident memory may grow meanwhile.
    pub memory_bytes: u64,
    /// Sends it and checks the answer.
    pub check: for<'a> fn(&'a World) -> BoxFuture<'a, Result<()>>,
}

impl Row {
    /// A row that takes no more memory than any request may.
    const fn new(
        number: u8,
        what: &'static str,
        check: for<'a> fn(&'a World) -> BoxFuture<'a, Result<()>>,
    ) -> Self {
        Self {
            number,
            what,
            memory_bytes: 96 * MIB,
            check,
        }
    }

    /// A row whose many connections and streams take memory each.
    const fn with_memory(self, memory_bytes: u64) -> Self {
        Self {
            memory_bytes,
            ..self
        }
    }
}

const TABLE: &[&[Row]] = &[
    bodies::ROWS,
    patches::ROWS,
    lists::ROWS,
    floods::ROWS,
    connections::ROWS,
    grpc::ROWS,
    nodes::ROWS,
    join::ROWS,
    rights::ROWS,
    admission::ROWS,
    extensions::ROWS,
    leaks::ROWS,
];

async fn run(row: &Row, world: &World) -> Result<()> {
    let before = world.mark_memory()?;
    (row.check)(world).await?;
    let grown = world.peak_bytes()?.saturating_sub(before);
    ensure!(
        grown <= row.memory_bytes,
        "memory grew by {} MiB, more than {} MiB",
        grown / MIB,
        row.memory_bytes / MIB
    );
    world.lives().await.context("afterwards")
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_input_gets_its_answer_and_the_server_lives_on() {
    let world = World::start(|config| config.allow_loopback_extensions = true).await;
    let only = std::env::var("KONTIKI_HOSTILE_ROW").ok();
    let mut failures = Vec::new();
    for row in TABLE.iter().copied().flatten() {
        let name = format!("{}: {}", row.number, row.what);
        if only
            .as_ref()
            .is_some_and(|only| *only != row.number.to_string())
        {
            continue;
        }
        eprintln!("row {name}");
        // A wait in vain panics: the rows behind it are run all the same.
        let outcome = AssertUnwindSafe(run(row, &world)).catch_unwind().await;
        let outcome = outcome.unwrap_or_else(|_| Err(anyhow!("it panicked, see above")));
        if let Err(error) = outcome {
            failures.push(format!("{name}: {error:#}"));
        }
    }
    assert!(failures.is_empty(), "\n{}\n", failures.join("\n"));
}
