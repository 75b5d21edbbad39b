//! Nodes that reach for what is not theirs. Node A is `bad-node`, the other `good-node`.

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kontiki_tests::eventually;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::Row;
use crate::wire::Caller;
use crate::world::World;

pub const ROWS: &[Row] = &[
    Row::new(27, "a node writes to another, its pods, its lease", |w| {
        Box::pin(others(w))
    }),
    Row::new(28, "a node reads a secret of no pod of its own", |w| {
        Box::pin(secrets(w))
    }),
    Row::new(29, "a node gives itself owners, taints, roles", |w| {
        Box::pin(itself(w))
    }),
    Row::new(
        30,
        "a node whose address is the server's own machine",
        |w| Box::pin(addresses(w)),
    ),
    Row::new(32, "certificate requests for more than one is", |w| {
        Box::pin(requests(w))
    }),
];

const BAD: &str = "bad-node";
const GOOD: &str = "good-node";
const PODS: &str = "/api/v1/namespaces/default/pods";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";
const NODE_SIGNER: &str = "kubernetes.io/kube-apiserver-client-kubelet";

/// Both nodes, with a pod and a secret on the good one.
async fn populate(world: &World) -> Result<()> {
    let admin = world.admin();
    for name in [BAD, GOOD] {
        let node = json!({"metadata": {"name": name}});
        admin
            .post("/api/v1/nodes", &node)
            .await?
            .coded(&[201, 409])?;
    }
    let secret = json!({"metadata": {"name": "of-good"}, "stringData": {"k": "v"}});
    admin.post(SECRETS, &secret).await?.coded(&[201, 409])?;
    let pod = json!({"metadata": {"name": "on-good"}, "spec": {
        "nodeName": GOOD,
        "containers": [{"name": "c", "image": "i"}],
        "volumes": [{"name": "v", "secret": {"secretName": "of-good"}}]}});
    admin.post(PODS, &pod).await?.coded(&[201, 409])?;
    let lease = json!({"metadata": {"name": GOOD}, "spec": {"holderIdentity": GOOD}});
    world
        .node(GOOD)
        .post(LEASES, &lease)
        .await?
        .coded(&[201, 409])
}

async fn others(world: &World) -> Result<()> {
    populate(world).await?;
    let node = world.node(BAD);
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    let ready = json!({"status": {"phase": "Running"}});
    for (path, patch) in [
        (format!("/api/v1/nodes/{GOOD}"), &label),
        (format!("/api/v1/nodes/{GOOD}/status"), &label),
        (format!("{PODS}/on-good/status"), &ready),
        (format!("{PODS}/on-good"), &label),
        (format!("{LEASES}/{GOOD}"), &label),
    ] {
        for kind in ["merge", "strategic-merge"] {
            let answer = node.patch(kind, &path, patch).await?;
            answer
                .refused(403, "Forbidden", "")
                .with_context(|| path.clone())?;
        }
    }
    let eviction =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "on-good"}});
    let evicted = node
        .post(&format!("{PODS}/on-good/eviction"), &eviction)
        .await?;
    evicted.refused(403, "Forbidden", "")?;
    for path in [
        format!("{PODS}/on-good"),
        format!("/api/v1/nodes/{GOOD}"),
        format!("{LEASES}/{GOOD}"),
    ] {
        let answer = node.send("DELETE", &path, &[], "").await?;
        answer.refused(403, "Forbidden", "").context(path)?;
    }
    let node_b = json!({"metadata": {"name": "third-node"}});
    node.post("/api/v1/nodes", &node_b)
        .await?
        .refused(403, "Forbidden", "")?;
    let lease = json!({"metadata": {"name": "third-node"}});
    node.post(LEASES, &lease)
        .await?
        .refused(403, "Forbidden", "")
}

async fn secrets(world: &World) -> Result<()> {
    populate(world).await?;
    let node = world.node(BAD);
    for path in [
        format!("{SECRETS}/of-good"),
        SECRETS.to_owned(),
        "/api/v1/secrets".to_owned(),
        format!("{SECRETS}?watch=true"),
        format!("{SECRETS}?fieldSelector=metadata.name=of-good"),
        format!("{SECRETS}?watch=true&fieldSelector=metadata.name=of-good"),
        "/api/v1/watch/namespaces/default/secrets/of-good".to_owned(),
        "/api/v1/namespaces/default/configmaps/absent".to_owned(),
    ] {
        node.get(&path)
            .await?
            .refused(403, "Forbidden", "")
            .context(path)?;
    }
    let token = json!({"spec": {"audiences": []}});
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    node.post(path, &token)
        .await?
        .refused(403, "Forbidden", "")?;
    world
        .node(GOOD)
        .get(&format!("{SECRETS}/of-good"))
        .await?
        .coded(&[200])
}

async fn itself(world: &World) -> Result<()> {
    populate(world).await?;
    let node = world.node(BAD);
    let path = format!("/api/v1/nodes/{BAD}");
    let owner = json!([{"apiVersion": "v1", "kind": "Node", "name": GOOD, "uid": "u"}]);
    for patch in [
        json!({"metadata": {"ownerReferences": owner}}),
        json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}),
        json!({"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}}),
        json!({"metadata": {"labels": {"node-restriction.kubernetes.io/secure": "yes"}}}),
        json!({"spec": {"configSource": {"configMap": {
            "name": "a", "namespace": "b", "kubeletConfigKey": "c"}}}}),
    ] {
        let answer = node.patch("merge", &path, &patch).await?;
        answer
            .coded(&[403, 422])
            .with_context(|| patch.to_string())?;
    }
    let object = world.admin().get(&path).await?.json()?;
    ensure!(
        object["metadata"].get("ownerReferences").is_none(),
        "{object}"
    );
    let labels = object["metadata"]["labels"].to_string();
    ensure!(
        !labels.contains("role") && !labels.contains("restriction"),
        "{labels}"
    );
    let taints = object["spec"]["taints"].to_string();
    ensure!(!taints.contains("\"a\""), "{taints}");
    Ok(())
}

/// Whatever address a node claims, nothing connects there: agents are reached through the streams that they opened.
async fn addresses(world: &World) -> Result<()> {
    populate(world).await?;
    let trap = TcpListener::bind("127.0.0.1:0").await?;
    let port = trap.local_addr()?.port();
    let node = world.node(BAD);
    for address in ["127.0.0.1", "169.254.169.254", "::1", "localhost"] {
        let kind = if address == "localhost" {
            "Hostname"
        } else {
            "InternalIP"
        };
        let status = json!({"status": {
            "addresses": [{"type": kind, "address": address}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}});
        let told = node
            .patch("merge", &format!("/api/v1/nodes/{BAD}/status"), &status)
            .await?;
        told.coded(&[200, 403, 422])?;
        let pod = json!({"metadata": {"name": "on-bad"}, "spec": {
            "nodeName": BAD, "containers": [{"name": "c", "image": "i"}]}});
        world.admin().post(PODS, &pod).await?.coded(&[201, 409])?;
        for path in [
            format!("{PODS}/on-bad/log"),
            format!("{PODS}/on-bad/proxy/"),
            format!("/api/v1/nodes/{BAD}/proxy/"),
            format!("/api/v1/nodes/{BAD}:{port}/proxy/metrics"),
            format!("/api/v1/nodes/http:{BAD}:{port}/proxy/"),
        ] {
            let answer = world.admin().get(&path).await?;
            ensure!(answer.code >= 400, "{path}: {}", answer.text());
        }
    }
    tokio::select! {
        biased;
        caught = trap.accept() => anyhow::bail!("the server connected: {caught:?}"),
        () = std::future::ready(()) => Ok(()),
    }
}

/// A request for a certificate, in base64 of PEM.
fn asked(name: &str, groups: &[&str], names: &[&str]) -> Result<String> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    for group in groups {
        params
            .distinguished_name
            .push(DnType::OrganizationName, *group);
    }
    for name in names {
        params
            .subject_alt_names
            .push(SanType::DnsName((*name).try_into()?));
    }
    let request = params.serialize_request(&KeyPair::generate()?)?;
    Ok(STANDARD.encode(request.pem()?))
}

async fn ask(caller: &Caller, name: &str, signer: &str, request: &str) -> Result<u16> {
    let object = json!({"metadata": {"name": name}, "spec": {
        "signerName": signer, "request": request,
        "usages": ["digital signature", "client auth"]}});
    Ok(caller.post(REQUESTS, &object).await?.code)
}

async fn requests(world: &World) -> Result<()> {
    populate(world).await?;
    let (node, admin) = (world.node(BAD), world.admin());
    // As every installer binds it: nodes renew their own certificates.
    let binding = json!({"metadata": {"name": "nodes-renew"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:nodes"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
            "name": "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient"}});
    let path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    admin.post(path, &binding).await?.coded(&[201])?;
    let own = format!("system:node:{BAD}");
    let other = format!("system:node:{GOOD}");
    let masters = asked("evil", &["system:masters"], &[])?;
    for caller in [&node, admin] {
        let code = ask(caller, "masters", CLIENT_SIGNER, &masters).await?;
        ensure!(code == 403, "system:masters: {code}");
    }
    let cases = [
        ("masters-too", asked(&own, &["system:masters"], &[])?),
        (
            "extra-name",
            asked(&own, &["system:nodes"], &["evil.example"])?,
        ),
        ("other-node", asked(&other, &["system:nodes"], &[])?),
        ("admin", asked("kubernetes-admin", &[], &[])?),
        (
            "garbage",
            STANDARD.encode("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n"),
        ),
    ];
    let mut made = Vec::new();
    for (name, request) in &cases {
        let code = ask(&node, name, NODE_SIGNER, request).await?;
        ensure!([201, 403, 422].contains(&code), "{name}: {code}");
        if code == 201 {
            made.push(*name);
        }
    }
    // The good request comes last: when it has its certificate, the others were looked at.
    let good = asked(&own, &["system:nodes"], &[])?;
    ensure!(
        ask(&node, "good", NODE_SIGNER, &good).await? == 201,
        "a good request is refused"
    );
    let read = |name: &str| {
        let path = format!("{REQUESTS}/{name}");
        let admin = admin.clone();
        async move { admin.get(&path).await?.json() }
    };
    eventually("the good request is signed", || async {
        let object = read("good").await.ok()?;
        object["status"]["certificate"].as_str().map(drop)
    })
    .await;
    for name in made {
        let object: Value = read(name).await?;
        let conditions = object["status"]["conditions"].to_string();
        ensure!(!conditions.contains("\"Approved\""), "{name}: {object}");
        ensure!(
            object["status"].get("certificate").is_none(),
            "{name}: {object}"
        );
    }
    Ok(())
}
