//! Tells the binary which commit it is made of, for `/version`.
//!
//! Packs its relative relocations (DT_RELR): plain ones take 2.8 MB that the loader reads, and so keeps resident, in
//! every process. Needs glibc 2.36 (Debian 12) and GNU ld 2.38: mold, which links everything else, leaves out the version that
//! glibc asks of such a binary.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    tell_commit();
    let target = |what: &str| std::env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    let is_release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    if is_release && (target("OS"), target("ENV")) == ("linux".into(), "gnu".into()) {
        println!("cargo:rustc-link-arg-bins=-fuse-ld=bfd");
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The commit, its date and whether anything was changed since; all empty outside of a repository.
fn tell_commit() {
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"]);
    if !log.is_empty() {
        println!("cargo:rerun-if-changed={log}");
    }
    let commit = git(&["rev-parse", "HEAD"]);
    let tree_state = match git(&["status", "--porcelain", "--untracked-files=no"]).as_str() {
        _ if commit.is_empty() => "",
        "" => "clean",
        _ => "dirty",
    };
    let date = git(&[
        "log",
        "-1",
        "--date=format-local:%Y-%m-%dT%H:%M:%SZ",
        "--format=%cd",
    ]);
    for (name, value) in [
        ("COMMIT", &*commit),
        ("TREE_STATE", tree_state),
        ("DATE", &date),
    ] {
        println!("cargo:rustc-env=KONTIKI_{name}={value}");
    }
}

fn git(arguments: &[&str]) -> String {
    let output = std::process::Command::new("git")
        .args(arguments)
        .env("TZ", "UTC")
        .output();
    let output = output.ok().filter(|output| output.status.success());
    let text = output.and_then(|output| String::from_utf8(output.stdout).ok());
    text.unwrap_or_default().trim().to_owned()
}
