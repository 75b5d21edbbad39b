//! Packs the binary's relative relocations (DT_RELR): plain ones take 2.8 MB that the loader reads, and so keeps resident, in
//! every process. Needs glibc 2.36 (Debian 12) and GNU ld 2.38: mold, which links everything else, leaves out the version that
//! glibc asks of such a binary.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let target = |what: &str| std::env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    let is_release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    if is_release && (target("OS"), target("ENV")) == ("linux".into(), "gnu".into()) {
        println!("cargo:rustc-link-arg-bins=-fuse-ld=bfd");
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
