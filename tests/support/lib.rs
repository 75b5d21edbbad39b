//! What tests of real processes share: a cluster of its own in a temporary folder, ended whatever happens.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod cluster;
mod gateway;
mod kubectl;
mod wait;

pub use cluster::LocalCluster;
pub use gateway::Gateway;
pub use kubectl::Kubectl;
pub use wait::{eventually, eventually_within};

/// The binary under test.
pub fn kontiki_binary() -> std::path::PathBuf {
    match std::env::var_os("KONTIKI") {
        Some(path) => path.into(),
        None => {
            let test = std::env::current_exe().expect("a test has a path");
            // target/debug/deps/test-hash -> target/debug/kontiki
            let folder = test
                .ancestors()
                .nth(2)
                .expect("tests lie in target/PROFILE/deps");
            folder.join("kontiki")
        }
    }
}
