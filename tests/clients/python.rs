//! The Python `kubernetes` package against a live cluster; what it does stands in `python_client.py`.
//!
//! `scripts/test` installs the package and names its interpreter by `KONTIKI_PYTHON`.

use std::process::Command;

use kontiki_tests::LocalCluster;

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/python_client.py");

#[test]
fn python_programs_work_unchanged() {
    let python = std::env::var("KONTIKI_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let cluster = LocalCluster::up(3, 0);
    let output = Command::new(python)
        .arg(PROGRAM)
        .arg(cluster.kubeconfig())
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
}
