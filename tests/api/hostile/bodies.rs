//! Bodies: what is not what it says, is too much, or grows when it is read.

use std::io::Write as _;

use anyhow::{Result, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::Row;
use crate::world::World;

pub const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";
const JSON: (&str, &str) = ("content-type", "application/json");
const YAML: (&str, &str) = ("content-type", "application/yaml");
/// Largest request body.
const REQUEST_BYTES: usize = 3 << 20;
/// What upstream lets the warnings of one answer take.
const WARNING_BYTES: usize = 8 << 10;

pub const ROWS: &[Row] = &[
    Row::new(1, "a YAML alias bomb", |w| Box::pin(alias_bomb(w))),
    Row::new(2, "JSON nested 100,000 deep", |w| Box::pin(deep_json(w))),
    Row::new(3, "bodies larger than they may be or say", |w| {
        Box::pin(large_bodies(w))
    }),
    Row::new(4, "a gzip bomb", |w| Box::pin(gzip_bomb(w))),
    Row::new(8, "fields that come twice or are unknown", |w| {
        Box::pin(strict_fields(w))
    }),
    Row::new(8, "strict errors without end", |w| {
        Box::pin(many_strict_errors(w))
    }),
    Row::new(9, "bytes that are no text", |w| Box::pin(no_text(w))),
    Row::new(10, "names that are paths, commands or novels", |w| {
        Box::pin(names(w))
    }),
    Row::new(11, "annotations beyond 256 KiB", |w| {
        Box::pin(annotations(w))
    }),
    Row::new(12, "quantities beyond reason", |w| Box::pin(quantities(w))),
];

/// A ConfigMap of this metadata.
pub fn config_map(metadata: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
}

async fn alias_bomb(world: &World) -> Result<()> {
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..10 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(",");
        bomb += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    let wide = format!(
        "a: &a \"{}\"\nb: [{}]\n",
        "x".repeat(1 << 20),
        ["*a"; 90].join(",")
    );
    for body in [bomb, wide] {
        let answer = world
            .admin()
            .send("POST", CONFIG_MAPS, &[YAML], body.clone())
            .await?;
        answer.refused(400, "BadRequest", "")?;
        let apply = ("content-type", "application/apply-patch+yaml");
        let path = format!("{CONFIG_MAPS}/a?fieldManager=m");
        let answer = world.admin().send("PATCH", &path, &[apply], body).await?;
        answer.refused(400, "BadRequest", "")?;
    }
    Ok(())
}

async fn deep_json(world: &World) -> Result<()> {
    let lists = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let maps = "{\"a\":".repeat(100_000);
    for body in [lists, maps] {
        for content_type in [JSON, YAML] {
            let headers = [content_type];
            let sent = world
                .admin()
                .send("POST", CONFIG_MAPS, &headers, body.clone());
            sent.await?.refused(400, "BadRequest", "")?;
        }
        for kind in ["json", "merge", "strategic-merge"] {
            let content_type = format!("application/{kind}-patch+json");
            let headers = [("content-type", content_type.as_str())];
            let path = format!("{CONFIG_MAPS}/kube-root-ca.crt");
            let sent = world.admin().send("PATCH", &path, &headers, body.clone());
            sent.await?.refused(400, "BadRequest", "")?;
        }
    }
    Ok(())
}

async fn large_bodies(world: &World) -> Result<()> {
    let admin = world.admin();
    let large = "x".repeat(REQUEST_BYTES + 1);
    let answer = admin
        .send("POST", CONFIG_MAPS, &[JSON], large.clone())
        .await?;
    answer.refused(413, "RequestEntityTooLarge", "")?;

    // In chunks, so that nothing tells the size beforehand. The server stops to read long before the last.
    let head = format!(
        "POST {CONFIG_MAPS} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\n\r\n"
    );
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 20, "x".repeat(1 << 20));
    let said = admin
        .raw(&[head.as_bytes(), chunk.repeat(64).as_bytes()])
        .await?;
    ensure!(said.starts_with("HTTP/1.1 413"), "chunked: {said}");

    // One that announces a terabyte is told before it sends it.
    let head = |length: u64| {
        format!("POST {CONFIG_MAPS} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n")
    };
    let announced = head(1 << 40);
    let said = admin.raw(&[announced.as_bytes(), b"{}"]).await?;
    ensure!(said.starts_with("HTTP/1.1 413"), "announced: {said}");

    // What comes after the announced length is another request, and no good one.
    let short = head(2);
    let said = admin.raw(&[short.as_bytes(), large.as_bytes()]).await?;
    ensure!(
        said.starts_with("HTTP/1.1 4"),
        "longer than announced: {said}"
    );
    ensure!(
        !said.contains("HTTP/1.1 2"),
        "longer than announced: {said}"
    );
    Ok(())
}

async fn gzip_bomb(world: &World) -> Result<()> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![b' '; 1 << 20];
    for _ in 0..1024 {
        encoder.write_all(&zeros)?;
    }
    let bomb = encoder.finish()?;
    for encoding in ["gzip", "x-gzip", "deflate", "br"] {
        let headers = [JSON, ("content-encoding", encoding)];
        let answer = world
            .admin()
            .send("POST", CONFIG_MAPS, &headers, bomb.clone())
            .await?;
        answer.refused(415, "UnsupportedMediaType", "")?;
    }
    Ok(())
}

async fn strict_fields(world: &World) -> Result<()> {
    let admin = world.admin();
    let body = r#"{"metadata":{"name":"a","name":"twice"},"dta":{}}"#;
    let path = |validation: &str| format!("{CONFIG_MAPS}?dryRun=All&fieldValidation={validation}");
    let strict = admin.send("POST", &path("Strict"), &[JSON], body).await?;
    strict.refused(400, "BadRequest", "unknown field \"dta\"")?;
    strict.refused(400, "BadRequest", "duplicate field \"metadata.name\"")?;
    let warned = admin.send("POST", &path("Warn"), &[JSON], body).await?;
    warned.coded(&[201])?;
    ensure!(
        warned.headers.get_all("warning").iter().count() == 2,
        "{:?}",
        warned.headers
    );
    let ignored = admin.send("POST", &path("Ignore"), &[JSON], body).await?;
    ensure!(
        ignored.json()?["metadata"]["name"] == "twice",
        "the last wins"
    );
    ensure!(
        !ignored.headers.contains_key("warning"),
        "{:?}",
        ignored.headers
    );
    Ok(())
}

/// A body of 3 MiB says each of its half million strict errors by a path of more than a megabyte.
async fn many_strict_errors(world: &World) -> Result<()> {
    let parent = "p".repeat(1 << 20);
    let twice = format!("{{\"{parent}\":{{{}\"a\":1}}}}", "\"a\":1,".repeat(300_000));
    let fields: Vec<String> = (0..150_000).map(|idx| format!("\"f{idx}\":1")).collect();
    let unknown = format!("{{\"metadata\":{{\"name\":\"a\"}},{}}}", fields.join(","));
    for body in [twice, unknown] {
        for validation in ["Warn", "Strict"] {
            let path = format!("{CONFIG_MAPS}?dryRun=All&fieldValidation={validation}");
            let answer = world
                .admin()
                .send("POST", &path, &[JSON], body.clone())
                .await?;
            answer.coded(&[201, 400, 422])?;
            let warnings = answer.headers.get_all("warning").iter();
            let n_bytes: usize = warnings.map(http::HeaderValue::len).sum();
            ensure!(n_bytes <= WARNING_BYTES, "{n_bytes} bytes of warnings");
            ensure!(
                answer.body.len() < REQUEST_BYTES,
                "{} bytes of answer",
                answer.body.len()
            );
        }
    }
    Ok(())
}

async fn no_text(world: &World) -> Result<()> {
    let mut body = b"{\"metadata\":{\"name\":\"a\xff\"}}".to_vec();
    let answer = world
        .admin()
        .send("POST", CONFIG_MAPS, &[JSON], body.clone())
        .await?;
    answer.coded(&[400, 422])?;
    body.retain(|byte| *byte != b'}');
    let answer = world
        .admin()
        .send("POST", CONFIG_MAPS, &[YAML], body)
        .await?;
    answer.coded(&[400, 422])?;
    for name in ["a\0b", "a\u{202e}b", "a\u{200b}b", "ａ", "a\r\nb"] {
        let object = config_map(json!({ "name": name }));
        let answer = world.admin().post(CONFIG_MAPS, &object).await?;
        answer.refused(422, "Invalid", "metadata.name")?;
    }
    for path in [
        "%ff",
        "a%00b",
        "a%0d%0ab",
        "%e2%80%ae",
        "%2e%2e%2f%2e%2e",
        "%zz",
    ] {
        let answer = world.admin().get(&format!("{CONFIG_MAPS}/{path}")).await?;
        answer.coded(&[400, 404])?;
    }
    Ok(())
}

async fn names(world: &World) -> Result<()> {
    let long = "a".repeat(254);
    for name in ["../..", "a;rm -rf", "", ".", "..", "a/b", "a%b", "A", &long] {
        let object = config_map(json!({ "name": name }));
        let answer = world.admin().post(CONFIG_MAPS, &object).await?;
        let words = if name.is_empty() {
            "name"
        } else {
            "metadata.name"
        };
        answer.refused(422, "Invalid", words)?;
    }
    let object = config_map(json!({"generateName": "x".repeat(1 << 20)}));
    let answer = world.admin().post(CONFIG_MAPS, &object).await?;
    answer.coded(&[201, 422])?;
    if answer.code == 201 {
        let name = answer.json()?["metadata"]["name"]
            .as_str()
            .unwrap()
            .to_owned();
        ensure!(name.len() <= 253, "{name}");
        let path = format!("{CONFIG_MAPS}/{name}");
        world
            .admin()
            .send("DELETE", &path, &[], "")
            .await?
            .coded(&[200])?;
    }
    Ok(())
}

async fn annotations(world: &World) -> Result<()> {
    let metadata = json!({"name": "a", "annotations": {"a": "x".repeat(257 << 10)}});
    let answer = world
        .admin()
        .post(CONFIG_MAPS, &config_map(metadata))
        .await?;
    answer.refused(422, "Invalid", "metadata.annotations: Too long")?;
    let metadata = json!({"name": "a", "labels": {"a": "x".repeat(64)}});
    let answer = world
        .admin()
        .post(CONFIG_MAPS, &config_map(metadata))
        .await?;
    answer.refused(422, "Invalid", "metadata.labels")
}

async fn quantities(world: &World) -> Result<()> {
    let pod = |quantity: &str| {
        json!({"metadata": {"name": "q"}, "spec": {"containers": [{
            "name": "c", "image": "i", "resources": {"requests": {"memory": quantity}}}]}})
    };
    let path = format!("{PODS}?dryRun=All");
    let digits = "9".repeat(1_000_000);
    for (quantity, code, reason) in [
        ("-1", 422, "Invalid"),
        (digits.as_str(), 400, "BadRequest"),
        ("1e", 400, "BadRequest"),
        ("1ki", 400, "BadRequest"),
        ("0x10", 400, "BadRequest"),
        ("١", 400, "BadRequest"),
    ] {
        let answer = world.admin().post(&path, &pod(quantity)).await?;
        answer.refused(code, reason, "")?;
    }
    // Upstream takes this one, counts it as the largest number that there is, and keeps its spelling.
    let answer = world.admin().post(&path, &pod("1e999")).await?.json()?;
    let memory = &answer["spec"]["containers"][0]["resources"]["requests"]["memory"];
    ensure!(memory == "1e999", "{memory}");
    Ok(())
}
