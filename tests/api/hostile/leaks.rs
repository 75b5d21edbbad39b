//! What must not come out: forged lines in the audit log, and secrets anywhere but in their objects.

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Row;
use super::bodies::CONFIG_MAPS;
use crate::world::World;

pub const ROWS: &[Row] = &[
    Row::new(47, "line ends in what the audit log records", |w| {
        Box::pin(forged_records(w))
    }),
    Row::new(50, "a secret in answers, events and logs", |w| {
        Box::pin(canary(w))
    }),
];

const SECRETS: &str = "/api/v1/namespaces/default/secrets";

async fn forged_records(world: &World) -> Result<()> {
    let forged = "\r\n{\"kind\":\"Event\",\"user\":{\"username\":\"forged\"}}";
    let escaped =
        "%0d%0a%7b%22kind%22%3a%22Event%22%2c%22user%22%3a%7b%22username%22%3a%22forged%22%7d%7d";
    let admin = world.admin();
    for path in [
        format!("{CONFIG_MAPS}/a{escaped}"),
        format!("/api/v1/namespaces/a{escaped}/configmaps"),
        format!("/apis/a{escaped}/v1/things"),
        format!("{CONFIG_MAPS}?fieldSelector=metadata.name%3da{escaped}"),
    ] {
        admin.get(&path).await?.coded(&[200, 400, 404])?;
    }
    let object = json!({"metadata": {"name": format!("a{forged}")}});
    admin
        .post("/api/v1/namespaces/default/serviceaccounts", &object)
        .await?
        .coded(&[422])?;
    let mallory = world.user(&format!("mallory{forged}"));
    mallory.get(CONFIG_MAPS).await?.coded(&[401, 403])?;
    let headers = [
        ("user-agent", "agent\t\"}{\"kind\":\"Event\""),
        ("audit-id", "\"},{\"x\":\""),
    ];
    admin
        .send("GET", CONFIG_MAPS, &headers, "")
        .await?
        .coded(&[200])?;
    // A header cannot hold line ends: what tries to is no request.
    let head = format!("GET {CONFIG_MAPS} HTTP/1.1\r\nhost: x\r\nuser-agent: a\rb\x00c\r\n\r\n");
    let said = admin.raw(&[head.as_bytes()]).await?;
    ensure!(said.starts_with("HTTP/1.1 400"), "{said}");

    let last = admin
        .get(&format!("{CONFIG_MAPS}/the-last-of-the-row"))
        .await?;
    last.coded(&[404])?;
    kontiki_tests::eventually("all is recorded", || async {
        world
            .audit_log()
            .contains("the-last-of-the-row")
            .then_some(())
    })
    .await;
    for line in world.audit_log().lines() {
        let event: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        ensure!(
            event["kind"] == "Event" && event["auditID"].is_string(),
            "{line}"
        );
        ensure!(event["user"]["username"] != "forged", "{line}");
    }
    Ok(())
}

/// Nothing that goes wrong with a secret tells it to anybody.
async fn canary(world: &World) -> Result<()> {
    let canary = "canary-c2VjcmV0-0123456789";
    let encoded = STANDARD.encode(canary);
    let admin = world.admin();
    let secret = |name: &str, rest: Value| {
        let mut secret = json!({"metadata": {"name": name}});
        secret
            .as_object_mut()
            .unwrap()
            .extend(rest.as_object().unwrap().clone());
        secret
    };
    let mut told = Vec::new();
    for rest in [
        json!({"data": {"k": canary}}),
        json!({"data": {"k": [canary]}}),
        json!({"data": [canary]}),
        json!({"stringData": {"k": {"x": canary}}}),
        json!({"stringData": canary}),
        json!({"type": "kubernetes.io/tls", "data": {"tls.crt": encoded}}),
        json!({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": encoded}}),
        json!({"type": "kubernetes.io/dockercfg", "stringData": {".dockercfg": canary}}),
        json!({"type": "kubernetes.io/ssh-auth", "data": {"k": encoded}}),
        json!({"type": "kubernetes.io/basic-auth", "data": {"k": encoded}}),
        json!({"data": {"not a key!": encoded}}),
        json!({"data": {"k": encoded, "large": STANDARD.encode("x".repeat(1 << 20))}}),
        json!({"immutable": canary, "data": {"k": encoded}}),
        json!({"unknown": {"x": canary}, "data": {"k": encoded}, "type": 7}),
    ] {
        for validation in ["Strict", "Warn"] {
            let path = format!("{SECRETS}?dryRun=All&fieldValidation={validation}");
            let answer = admin.post(&path, &secret("bad", rest.clone())).await?;
            ensure!(answer.code >= 400, "{rest}: {}", answer.text());
            told.push(answer);
        }
    }
    let good = secret("canary", json!({"immutable": true, "data": {"k": encoded}}));
    admin.post(SECRETS, &good).await?.coded(&[201])?;
    told.push(admin.post(SECRETS, &good).await?);
    let path = format!("{SECRETS}/canary");
    for patch in [
        json!({"data": {"k": STANDARD.encode("other")}}),
        json!({"data": {"k": 7}}),
        json!({"type": {"x": 7}}),
        json!({"immutable": "x"}),
        json!({"metadata": {"resourceVersion": "1"}}),
        json!({"metadata": {"labels": {"a": "not valid!"}}}),
    ] {
        told.push(admin.patch("merge", &path, &patch).await?);
        told.push(admin.patch("strategic-merge", &path, &patch).await?);
    }
    for patch in [
        json!([{"op": "test", "path": "/data/k", "value": "x"}]),
        json!([{"op": "copy", "from": "/data/k", "path": "/immutable"}]),
        json!([{"op": "copy", "from": "/data/k", "path": "/metadata/namespace"}]),
        json!([{"op": "move", "from": "/data/k", "path": "/data"}]),
        json!([{"op": "copy", "from": "/data", "path": "/metadata/labels"}]),
        json!([{"op": "copy", "from": "/data/k", "path": "/type"}]),
    ] {
        told.push(admin.patch("json", &path, &patch).await?);
    }
    let content = ("content-type", "application/apply-patch+yaml");
    let applied = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "canary"},
        "data": {"k": STANDARD.encode("other")}});
    let path = format!("{path}?fieldManager=other");
    told.push(
        admin
            .send("PATCH", &path, &[content], applied.to_string())
            .await?,
    );
    // A pod that asks for it wrongly, and one whose command holds nothing of it.
    let pod = json!({"metadata": {"name": "reads-canary"}, "spec": {"nodeName": "absent-node",
        "containers": [{"name": "c", "image": "i", "env": [{"name": "K", "valueFrom": {
            "secretKeyRef": {"name": "canary", "key": "absent"}}}]}]}});
    told.push(admin.post("/api/v1/namespaces/default/pods", &pod).await?);
    let events = admin.get("/api/v1/events").await?;
    told.push(events);

    let parts = [canary, encoded.as_str()];
    for answer in &told {
        let headers = format!("{:?}", answer.headers);
        for part in parts {
            ensure!(
                !answer.text().contains(part),
                "{}: {}",
                answer.code,
                answer.text()
            );
            ensure!(!headers.contains(part), "{headers}");
        }
    }
    admin
        .send("DELETE", &format!("{SECRETS}/canary"), &[], "")
        .await?
        .coded(&[200])?;
    let pod = "/api/v1/namespaces/default/pods/reads-canary?gracePeriodSeconds=0";
    admin.send("DELETE", pod, &[], "").await?.coded(&[200])?;
    for part in parts {
        ensure!(!world.log().contains(part), "the log has it");
        ensure!(!world.audit_log().contains(part), "the audit log has it");
    }
    Ok(())
}
