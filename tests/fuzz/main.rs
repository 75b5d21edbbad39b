//! Every parser under inputs that nobody would write: mutations of a small corpus, from fixed seeds, so many and no more.
//!
//! A failing input is kept and named; `KONTIKI_FUZZ_INPUT=FILE` runs a target on that one alone, and
//! `KONTIKI_FUZZ_ROUNDS=N` goes on for longer. No coverage guides the mutations, since that takes a nightly compiler.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod api;
mod driver;
mod texts;
