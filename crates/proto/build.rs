//! Compiles `proto/` without protoc (protox) and keeps the descriptor set for reflection.

use std::path::PathBuf;

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    let files: Vec<PathBuf> = [
        "api/v1/object",
        "api/v1/gateway",
        "cluster/v1/cluster",
        "node/v1/node",
        "raft/v1/raft",
    ]
    .iter()
    .map(|file| root.join(format!("kontiki/{file}.proto")))
    .collect();
    println!("cargo::rerun-if-changed={}", root.display());
    let descriptors = protox::compile(&files, [&root])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("kontiki.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
