//! Tidiness: what ARCHITECTURE.md promises about the tree, checked as an ordinary test.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

#[path = "tidy/dependencies.rs"]
mod dependencies;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Floors of the crates; imports go strictly down.
const FLOORS: &[(&str, u8)] = &[
    ("base2histogram", 0),
    ("kontiki-base", 0),
    ("kontiki-api", 0),
    ("kontiki-proto", 0),
    ("kontiki-sample", 0),
    ("kontiki-state", 1),
    ("kontiki-scheduler", 1),
    ("kontiki-controllers", 1),
    ("kontiki-storage", 2),
    ("kontiki-runtime", 2),
    ("kontiki-network", 2),
    ("kontiki-consensus", 3),
    ("kontiki-apiserver", 4),
    ("kontiki-dispatcher", 4),
    ("kontiki-controller-manager", 4),
    ("kontiki-agent", 4),
    ("kontiki-gateway", 5),
    ("kontiki-rpc", 5),
    ("kontiki", 6),
    ("kontiki-tests", 7),
];

/// Edges within a floor, each with its reason.
const ALLOWED_EDGES: &[(&str, &str, &str)] = &[
    (
        "kontiki-api",
        "kontiki-base",
        "errors and limits are below kinds",
    ),
    (
        "kontiki-controllers",
        "kontiki-state",
        "controllers read snapshots",
    ),
    (
        "kontiki-dispatcher",
        "kontiki-apiserver",
        "the dispatcher serves the tunnel that logs go through",
    ),
];

/// Each of these is named by one crate only.
const OWNED: &[(&str, &str)] = &[
    ("rocksdb", "kontiki-storage"),
    ("openraft", "kontiki-consensus"),
    ("bollard", "kontiki-runtime"),
];

/// Longest file, in lines.
const FILE_LINES: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .unwrap()
}

fn packages() -> Vec<Value> {
    let metadata = metadata(&["--no-deps", "--offline"]);
    metadata["packages"].as_array().unwrap().clone()
}

/// What `cargo metadata` tells with those flags.
fn metadata(flags: &[&str]) -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1"])
        .args(flags)
        .current_dir(root())
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn dependencies(package: &Value) -> impl Iterator<Item = &str> {
    let all = package["dependencies"].as_array().unwrap();
    all.iter()
        .filter(|dep| dep["kind"] != "dev")
        .map(|dep| dep["name"].as_str().unwrap())
}

/// All Rust files below a folder, build output aside.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() && path.file_name().unwrap() != "target" {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn project_sources() -> Vec<(PathBuf, String)> {
    let root = root();
    let mut files = sources(&root.join("crates"));
    files.extend(sources(&root.join("patches")));
    files.extend(sources(&root.join("tests")));
    assert!(files.len() > 100, "only {} files found", files.len());
    files
        .into_iter()
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect()
}

#[test]
fn imports_go_down() {
    let floors: BTreeMap<_, _> = FLOORS.iter().copied().collect();
    for package in packages() {
        let name = package["name"].as_str().unwrap();
        let floor = floors
            .get(name)
            .unwrap_or_else(|| panic!("{name} has no floor"));
        for dependency in dependencies(&package).filter(|name| name.starts_with("kontiki")) {
            let allowed = ALLOWED_EDGES
                .iter()
                .any(|(from, to, _)| (*from, *to) == (name, dependency));
            assert!(
                floors[dependency] < *floor || allowed,
                "{name} (floor {floor}) may not import {dependency} (floor {})",
                floors[dependency]
            );
        }
    }
}

#[test]
fn engines_are_named_by_their_owner_only() {
    for package in packages() {
        let name = package["name"].as_str().unwrap();
        for (engine, owner) in OWNED {
            assert!(
                name == *owner
                    || name == "kontiki-tests"
                    || dependencies(&package).all(|dependency| dependency != *engine),
                "{name} names {engine}, which belongs to {owner}"
            );
        }
    }
}

#[test]
fn pure_crates_stay_pure() {
    const IMPURE: &[&str] = &[
        "tokio::",
        "tonic::",
        "axum::",
        "SystemTime::now",
        "Instant::now",
    ];
    for krate in ["state", "scheduler", "controllers"] {
        for path in sources(&root().join("crates").join(krate).join("src")) {
            let text = fs::read_to_string(&path).unwrap();
            for word in IMPURE {
                assert!(!text.contains(word), "{} names {word}", path.display());
            }
        }
    }
}

#[test]
fn every_file_says_what_it_is_and_stays_short() {
    for (path, text) in project_sources() {
        assert!(
            text.starts_with("//!"),
            "{} opens without a header",
            path.display()
        );
        let n_lines = text.lines().count();
        assert!(
            n_lines <= FILE_LINES,
            "{} has {n_lines} lines",
            path.display()
        );
    }
}

#[test]
fn tests_are_not_ignored_and_threads_do_not_sleep_in_them() {
    let (ignored, sleep) = (concat!("#[", "ignore"), concat!("thread::", "sleep"));
    for (path, text) in project_sources() {
        assert!(!text.contains(ignored), "{} ignores a test", path.display());
        let in_tests = path.starts_with(root().join("tests"));
        assert!(
            !in_tests || !text.contains(sleep),
            "{} sleeps",
            path.display()
        );
    }
}

#[test]
fn no_module_hides_in_a_mod_file() {
    for (path, _) in project_sources() {
        assert_ne!(path.file_name().unwrap(), "mod.rs", "{}", path.display());
    }
}

#[test]
fn metric_names_are_spelled_in_the_catalog_only() {
    let metrics = root().join("crates/base/src/metrics.rs");
    for (name, _, _) in kontiki_base::metrics::CATALOG {
        let quoted = format!("\"kontiki_{name}\"");
        for (path, text) in project_sources() {
            assert!(
                path == metrics || !text.contains(&quoted),
                "{} pastes {name}",
                path.display()
            );
        }
    }
}

#[test]
fn the_architecture_page_names_every_crate() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for entry in fs::read_dir(root().join("crates")).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        assert!(
            page.contains(&format!("`{name}`")),
            "ARCHITECTURE.md does not name {name}"
        );
    }
}

#[test]
fn invariants_name_tests_that_exist() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let all: String = project_sources()
        .into_iter()
        .map(|(_, text)| text)
        .collect();
    let mut n_named = 0;
    for name in page
        .split("test:`")
        .skip(1)
        .filter_map(|rest| rest.split('`').next())
    {
        n_named += 1;
        assert!(
            all.contains(&format!("fn {name}(")),
            "ARCHITECTURE.md names {name}, which is no test"
        );
    }
    assert!(n_named >= 5, "only {n_named} invariants name their test");
}
