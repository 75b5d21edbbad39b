//! Compiles the helper programs (pause, and the sample server of crates/sample) into static binaries that the crate
//! embeds: images are made from them without any registry.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    compile(&root.join("helpers/pause.rs"), "pause");
    compile(&root.join("../sample/src/main.rs"), "sample");
}

/// Modules beside `source` are found by rustc itself; a change of any file there compiles it again.
fn compile(source: &Path, name: &str) {
    let folder = source.parent().expect("a file has a folder");
    println!("cargo::rerun-if-changed={}", folder.display());
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let out = PathBuf::from(std::env::var("OUT_DIR").expect("cargo sets it")).join(name);
    let status = Command::new(rustc)
        .args([
            "--edition=2024",
            "--crate-type=bin",
            "-Copt-level=s",
            "-Cpanic=abort",
        ])
        .args([
            "-Clto=fat",
            "-Ccodegen-units=1",
            "-Cstrip=symbols",
            "-Ctarget-feature=+crt-static",
        ])
        .args(["-Crelocation-model=static", "--crate-name", name])
        .arg("-o")
        .arg(&out)
        .arg(source)
        .status()
        .expect("rustc runs");
    assert!(status.success(), "{name} did not compile");
}
