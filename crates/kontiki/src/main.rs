//! Entry point: parse, run, and print an error as one line that says what to do.

use std::process::ExitCode;

use clap::Parser as _;

/// For RocksDB's C++ as well. A third of a write's time went into the system's allocator
/// (`docs/decisions/2026-11-25-jemalloc.md`).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = kontiki::commands::Cli::parse();
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = format!("{error:#}").replace('\n', " ");
            eprintln!("kontiki: {text}");
            ExitCode::FAILURE
        }
    }
}
