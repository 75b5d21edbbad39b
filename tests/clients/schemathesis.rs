//! Requests made from our own OpenAPI documents, right ones and wrong ones: no answer is a failure of the server.
//!
//! `scripts/test` installs the program and names it by `KONTIKI_SCHEMATHESIS`. The seed is fixed and the examples are few;
//! for a longer hunt run it by hand with more.

use std::process::Command;

use kontiki::kubeconfig;
use kontiki_tests::LocalCluster;
use serde_json::Value;

/// Documents, one a group version: kinds of every shape, and what has most rules.
const DOCUMENTS: [&str; 4] = [
    "apis/apps/v1",
    "apis/batch/v1",
    "apis/rbac.authorization.k8s.io/v1",
    "apis/apiextensions.k8s.io/v1",
];
/// Requests for each operation.
const EXAMPLES: &str = "2";
const SEED: &str = "20261125";
/// Operations without an end of their own, and one whose collections would take what others work on.
const EXCLUDED: &str = "watch";

#[tokio::test(flavor = "multi_thread")]
async fn no_request_of_our_own_documents_is_a_server_error() {
    let program = std::env::var("KONTIKI_SCHEMATHESIS").unwrap_or_else(|_| "schemathesis".into());
    let cluster = LocalCluster::up(1, 0);
    let access = kubeconfig::read(&cluster.kubeconfig()).unwrap();
    let authority = cluster.layout.pki().join("api-ca.crt");
    let token = std::fs::read_to_string(cluster.layout.admin_token()).unwrap();
    for document in DOCUMENTS {
        let url = format!("/openapi/v3/{document}");
        let schema: Value = cluster.client().get(&url).await.unwrap().json().unwrap();
        let path = cluster.scratch().join("openapi.json");
        std::fs::write(&path, schema.to_string()).unwrap();
        let output = Command::new(&program)
            .arg("run")
            .arg(&path)
            .args(["--url", &access.server])
            .args(["--checks", "not_a_server_error"])
            .args(["--phases", "fuzzing"])
            .args(["--max-examples", EXAMPLES, "--seed", SEED, "--no-shrink"])
            .args(["--generation-database", "none", "--no-color"])
            .args(["--suppress-health-check", "all", "--warnings", "off"])
            .args(["--exclude-path-regex", EXCLUDED, "--request-timeout", "60"])
            .arg("--tls-verify")
            .arg(&authority)
            .args(["--header", &format!("Authorization: Bearer {token}")])
            .current_dir(cluster.scratch())
            .output()
            .expect("schemathesis starts");
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{document}:\n{told}");
    }
}
