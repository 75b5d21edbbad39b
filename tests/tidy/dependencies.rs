//! What the project may depend on: licences, origins, and crates that stay out.
//!
//! The same checks as cargo-deny's `licenses`, `sources` and `bans`, over `cargo metadata`: building that tool would take
//! longer than a warm run of the whole suite. Its advisories come from a database that this cannot replace.

use std::process::Command;

use serde_json::Value;

use super::metadata;

/// Licences that go with Apache-2.0. MPL-2.0 is copyleft by file: a crate under it is used as it is, never edited here.
const LICENSES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "ISC",
    "MIT",
    "MPL-2.0",
    "MPL-2.0+",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates that must not come in, each with its reason.
const BANNED: &[(&str, &str)] = &[
    ("openssl-sys", "one TLS stack: rustls"),
    ("native-tls", "one TLS stack: rustls"),
    (
        "aws-lc-sys",
        "one crypto provider: ring; this one wants cmake and minutes",
    ),
    ("serde_yaml", "unmaintained, no bound on aliases"),
    ("async-std", "one runtime: tokio"),
];

/// The triple that this machine builds for.
fn host() -> String {
    let output = Command::new("rustc").arg("-vV").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    line.unwrap().to_owned()
}

/// All packages of the lock file that this platform builds.
fn packages() -> Vec<Value> {
    let metadata = metadata(&["--locked", "--filter-platform", &host()]);
    let packages = metadata["packages"].as_array().unwrap().clone();
    assert!(packages.len() > 100, "only {} packages", packages.len());
    packages
}

/// Whether an SPDX expression can be satisfied by licences of the list. `/` is an older spelling of `OR`.
fn is_allowed(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    let inner = |text: &str| text.trim().trim_matches(['(', ')']).trim().to_owned();
    // `AND` never stands inside of an `OR` without parentheses in what crates publish, nor the reverse.
    expression.split(" AND ").all(|all| {
        inner(all)
            .split(" OR ")
            .any(|one| LICENSES.contains(&inner(one).as_str()))
    })
}

#[test]
fn licenses_fit_ours() {
    assert!(is_allowed("MIT/Apache-2.0") && is_allowed("(MIT OR Foo) AND Unicode-3.0"));
    assert!(!is_allowed("GPL-3.0") && !is_allowed("MIT AND GPL-3.0"));
    for package in packages() {
        let license = package["license"].as_str().unwrap_or("none");
        assert!(is_allowed(license), "{} is {license}", package["name"]);
    }
}

#[test]
fn everything_comes_from_the_registry_or_from_here() {
    for package in packages() {
        let source = package["source"].as_str().unwrap_or("here");
        let from_registry = source == "registry+https://github.com/rust-lang/crates.io-index";
        let is_fine = from_registry || source == "here";
        assert!(is_fine, "{} comes from {source}", package["name"]);
    }
}

#[test]
fn what_must_stay_out_is_out() {
    for package in packages() {
        let banned = BANNED.iter().find(|(name, _)| package["name"] == *name);
        assert!(banned.is_none(), "{banned:?}");
    }
}
