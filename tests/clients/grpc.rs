//! The examples of docs/grpc.md, in both languages, against a live cluster.
//!
//! `scripts/test` installs Python's packages and names its interpreter by `KONTIKI_PYTHON`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kontiki_tests::LocalCluster;

#[path = "../../examples/grpc/rust/objects.rs"]
#[expect(dead_code, reason = "the example's own main is for those who run it")]
mod objects;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Where the API is, its authority and a token, as `kontiki up` leaves them.
fn access(cluster: &LocalCluster) -> (String, PathBuf, PathBuf) {
    let access = kontiki::kubeconfig::read(&cluster.kubeconfig()).unwrap();
    let dir = cluster.layout.dir();
    let (ca, token) = (dir.join("pki/api-ca.crt"), cluster.layout.admin_token());
    (access.endpoint().to_owned(), ca, token)
}

fn succeeded(output: &Output) {
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
}

#[tokio::test]
async fn the_rust_example_runs() {
    let cluster = LocalCluster::up(3, 0);
    let (server, ca, token) = access(&cluster);
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    objects::run(&server, &read(&ca), &read(&token))
        .await
        .unwrap();
}

#[test]
fn the_python_example_runs() {
    let python = std::env::var("KONTIKI_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let cluster = LocalCluster::up(3, 0);
    let stubs = cluster.scratch().join("stubs");
    std::fs::create_dir(&stubs).unwrap();
    let out = |language: &str| format!("--{language}_out={}", stubs.display());
    let generated = Command::new(&python)
        .args(["-m", "grpc_tools.protoc", "-I", "proto"])
        .args([out("python"), out("grpc_python")])
        .arg("proto/kontiki/api/v1/object.proto")
        .current_dir(root())
        .output()
        .unwrap();
    succeeded(&generated);
    let (server, ca, token) = access(&cluster);
    let output = Command::new(&python)
        .arg("examples/grpc/python/objects.py")
        .args([Path::new(&server), &ca, &token])
        .env("PYTHONPATH", &stubs)
        .current_dir(root())
        .output()
        .unwrap();
    succeeded(&output);
}
