//! The API's faces against what people and programs send them: tables of cases against a live server.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod hostile;
mod wire;
mod world;
