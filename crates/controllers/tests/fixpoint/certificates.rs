//! Requests for certificates: who is approved without a word, what is signed, when a request goes.

use std::sync::Arc;

use kontiki_controllers::{Certificate, CertificateSigner};
use serde_json::{Value, json};

use crate::world::World;

const REQUESTS: &str = "certificatesigningrequests.certificates.k8s.io";
const BINDINGS: &str = "clusterrolebindings.rbac.authorization.k8s.io";
const HOUR_MS: u64 = 3_600_000;
/// Asks for a certificate of `system:node:n1` in `system:nodes`.
const NODE_REQUEST: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIcU1JR1NBZ0VBTURBeEZUQVRCZ05WQkFvTURITjVjM1JsYlRwdWIyUmxjekVYTUJVR0ExVUVBd3dPYzNsegpkR1Z0T201dlpHVTZiakV3V1RBVEJnY3Foa2pPUFFJQkJnZ3Foa2pPUFFNQkJ3TkNBQVI1enJ3eGh0RytZdkowCmNDd2EwTXhmRCtjbFB1NmphMndwWmErN0FNNHV0UG1HbGUyUzdzYXJ3WlJwdDVOWEFxNTRZdUNBN0kvOTVONHYKVWtjQS80d01vQUF3Q2dZSUtvWkl6ajBFQXdJRFJ3QXdSQUlnT2xBUXduNVk5dEtuV3hYMjRFZ2R2RkxPTkNRKwp5TkxQNWFKVE9XSGNmOThDSUhNM2V1V3NwT0VXMTlVN3JrVUE2WGVqY3I2TTljU3gzbUd2dDZTRGljRU0KLS0tLS1FTkQgQ0VSVElGSUNBVEUgUkVRVUVTVC0tLS0tCg==";

/// Signs by telling what it was asked to sign.
#[derive(Debug)]
struct Says;

impl CertificateSigner for Says {
    fn sign(&self, certificate: &Certificate<'_>) -> Result<String, String> {
        let life_s = (certificate.not_after_ms - certificate.not_before_ms) / 1000;
        Ok(format!("{} for {life_s}", certificate.usages.join("+")))
    }
}

fn world() -> World {
    let mut world = World::new();
    world.settings.signer = Some(Arc::new(Says));
    world
}

fn ask(world: &mut World, name: &str, signer: &str, usage: &str) {
    let spec = json!({
        "request": NODE_REQUEST,
        "signerName": signer,
        "usages": ["digital signature", usage],
        "expirationSeconds": 3600,
    });
    world.create(REQUESTS, json!({"metadata": {"name": name}, "spec": spec}));
    world.edit(REQUESTS, "", name, |request| {
        request["spec"]["username"] = json!("system:node:n1");
        request["spec"]["groups"] = json!(["system:nodes"]);
    });
    world.settle();
}

fn decide(world: &mut World, name: &str, word: &str) {
    let now = kontiki_api::time::rfc3339(world.now_ms);
    world.edit(REQUESTS, "", name, |request| {
        let condition = json!({"type": word, "status": "True", "lastUpdateTime": now});
        request["status"] = json!({"conditions": [condition]});
    });
    world.settle();
}

fn status(world: &World, name: &str) -> Value {
    world.get(REQUESTS, "", name).unwrap()["status"].clone()
}

#[test]
fn a_nodes_own_request_is_approved_and_signed_once_it_may_be() {
    let mut world = world();
    let signer = "kubernetes.io/kube-apiserver-client-kubelet";
    ask(&mut world, "n1", signer, "client auth");
    assert_eq!(status(&world, "n1")["conditions"], Value::Null);
    let role = "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient";
    world.create(
        BINDINGS,
        json!({
            "metadata": {"name": "rotation"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "Group", "name": "system:nodes"}],
        }),
    );
    world.settle();
    let status = status(&world, "n1");
    assert_eq!(status["conditions"][0]["type"], "Approved");
    assert_eq!(status["conditions"][0]["reason"], "AutoApproved");
    // "digital signature+client auth for 3900": an hour, and five minutes before.
    assert_eq!(
        status["certificate"],
        "ZGlnaXRhbCBzaWduYXR1cmUrY2xpZW50IGF1dGggZm9yIDM5MDA="
    );
}

#[test]
fn what_a_signer_does_not_permit_fails_and_foreign_signers_are_left_alone() {
    let mut world = world();
    ask(
        &mut world,
        "a",
        "kubernetes.io/kubelet-serving",
        "server auth",
    );
    ask(&mut world, "b", "example.com/x", "server auth");
    for name in ["a", "b"] {
        assert_eq!(status(&world, name)["conditions"], Value::Null);
        decide(&mut world, name, "Approved");
    }
    let failed = status(&world, "a")["conditions"][1].clone();
    assert_eq!(failed["type"], "Failed");
    assert_eq!(failed["reason"], "SignerValidationFailure");
    assert_eq!(failed["message"], "DNS or IP subjectAltName is required");
    assert_eq!(
        status(&world, "b")["conditions"].as_array().unwrap().len(),
        1
    );
    assert_eq!(status(&world, "b")["certificate"], Value::Null);
}

#[test]
fn requests_go_a_while_after_the_last_word() {
    let mut world = world();
    for name in ["pending", "denied", "approved"] {
        ask(&mut world, name, "example.com/x", "client auth");
    }
    decide(&mut world, "denied", "Denied");
    decide(&mut world, "approved", "Approved");
    for (hours, left) in [(0, 3), (1, 1), (23, 0)] {
        world.now_ms += hours * HOUR_MS;
        world.settle();
        assert_eq!(world.list(REQUESTS, "").len(), left, "{hours}");
    }
}
