//! A user's certificate by way of the API: asked for, approved by kubectl, signed by the leader, used.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kontiki::kubeconfig;
use kontiki::pki::Pair;
use kontiki_tests::{Kubectl, LocalCluster, eventually};
use serde_json::{Value, json};

/// Asks for a certificate of `ann` in the groups `dev` and `ops`, both in one part of the name as Go writes them.
const REQUEST: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIak1JR0tBZ0VBTUNneEdEQUtCZ05WQkFvTUEyUmxkakFLQmdOVkJBb01BMjl3Y3pFTU1Bb0dBMVVFQXd3RApZVzV1TUZrd0V3WUhLb1pJemowQ0FRWUlLb1pJemowREFRY0RRZ0FFOGx0MGdXcENoZEhIdG5sbGs4ZyszS05oClZjSCtVVFQrQi8rbUZTNjJqdEJCamo3UnN3T2JKeWpIMFpxUjJFcGFDSE41NTh2VTltNEUwT1BpVVNMMEdLQUEKTUFvR0NDcUdTTTQ5QkFNQ0EwZ0FNRVVDSUFtMHZ2OWxVNENhOEFNakNxYURrbTAzQzdrdjllTlFTdFRjZnpoNgo2TG5SQWlFQWw3TUlaNzlQckpIbHplL3RtWTVRRXlOQktsNDFVMzVmUTdNd0kvVlZlU0U9Ci0tLS0tRU5EIENFUlRJRklDQVRFIFJFUVVFU1QtLS0tLQo=";

/// The key that it is for.
const KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg4mQBuGcxOVMn9/wJ
jWT0h6Q9C29OZu64g+FaW7mgUlChRANCAATyW3SBakKF0ce2eWWTyD7co2FVwf5R
NP4H/6YVLraO0EGOPtGzA5snKMfRmpHYSloIc3nny9T2bgTQ4+JRIvQY
-----END PRIVATE KEY-----
";

fn manifest(name: &str) -> String {
    json!({
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name},
        "spec": {
            "request": REQUEST,
            "signerName": "kubernetes.io/kube-apiserver-client",
            "usages": ["client auth"],
            "expirationSeconds": 3600,
        },
    })
    .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_kubectl_approves_opens_the_api() {
    let cluster = LocalCluster::up(1, 0);
    let kubectl = cluster.kubectl();
    for name in ["ann", "eve"] {
        kubectl.apply(&manifest(name)).await.unwrap();
    }
    let deny = kubectl.run(&["certificate", "deny", "eve"]).await.unwrap();
    assert!(deny.contains("denied"), "{deny}");
    kubectl
        .run(&["certificate", "approve", "ann"])
        .await
        .unwrap();
    let pem = eventually("the certificate is issued", || async {
        let request = kubectl.json(&["get", "csr", "ann"]).await.ok()?;
        STANDARD
            .decode(request["status"]["certificate"].as_str()?)
            .ok()
    })
    .await;
    let table = kubectl.run(&["get", "csr"]).await.unwrap();
    assert!(
        table.contains("Approved,Issued") && table.contains("Denied"),
        "{table}"
    );

    let access = kubeconfig::read(&cluster.kubeconfig()).unwrap();
    let identity = Pair {
        cert_pem: String::from_utf8(pem).unwrap(),
        key_pem: KEY.to_owned(),
    };
    let path = cluster.scratch().join("ann.kubeconfig");
    kubeconfig::write(&path, &access.server, &access.ca_pem, &identity).unwrap();
    let review = json!({"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"});
    let answer = Kubectl::new(path)
        .run_with(
            &["create", "--validate=false", "-o", "json", "-f", "-"],
            &review.to_string(),
        )
        .await
        .unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let user = &answer["status"]["userInfo"];
    assert_eq!(user["username"], "ann");
    assert_eq!(
        user["groups"],
        json!(["dev", "ops", "system:authenticated"])
    );
}
