//! Bad input gets its clear error and costs nothing else. One table a face: REST, command line, files.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use kontiki::https::Client;
use kontiki::kubeconfig;
use kontiki::pki::{API_CA_NAME, Authority, Subject};
use kontiki_base::clock::SystemClock;
use kontiki_tests::{LocalCluster, eventually};
use nix::sys::signal::Signal;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Method, path, body, then the code and reason that upstream answers with, and words of the message.
type Case = (
    &'static str,
    &'static str,
    String,
    u16,
    &'static str,
    &'static str,
);

fn cases() -> Vec<Case> {
    let config_map = |metadata: &str, rest: &str| {
        format!(r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{metadata}{rest}}}"#)
    };
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    vec![
        ("POST", CONFIG_MAPS, "{".into(), 400, "BadRequest", ""),
        ("POST", CONFIG_MAPS, deep, 400, "BadRequest", ""),
        ("POST", CONFIG_MAPS, "x".repeat(3 * 1024 * 1024 + 1), 413, "RequestEntityTooLarge", ""),
        (
            "POST",
            "/api/v1/namespaces/default/configmaps?fieldValidation=Strict",
            config_map(r#"{"name":"a"}"#, r#","dta":{}"#),
            400,
            "BadRequest",
            r#"unknown field "dta""#,
        ),
        ("POST", CONFIG_MAPS, config_map(r#"{"name":"Not A Label"}"#, ""), 422, "Invalid", "metadata.name"),
        ("POST", CONFIG_MAPS, config_map(r#"{"name":"../.."}"#, ""), 422, "Invalid", "metadata.name"),
        ("POST", CONFIG_MAPS, config_map(r#"{"name":"a"}"#, r#","data":{"k":1}"#), 400, "BadRequest", ""),
        (
            "POST",
            "/api/v1/namespaces/absent/configmaps",
            config_map(r#"{"name":"a"}"#, ""),
            404,
            "NotFound",
            "absent",
        ),
        (
            "POST",
            "/apis/apps/v1/namespaces/default/deployments",
            r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"replicas":-1,
               "selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},
               "spec":{"containers":[{"name":"c","image":"i"}]}}}}"#
                .into(),
            422,
            "Invalid",
            "spec.replicas",
        ),
        ("GET", "/api/v1/namespaces/default/configmaps/absent", String::new(), 404, "NotFound", "absent"),
        ("GET", "/api/v1/configmaps?resourceVersion=x", String::new(), 400, "BadRequest", ""),
        ("GET", "/api/v1/pods?fieldSelector=spec.nothing%3Dx", String::new(), 400, "BadRequest", "spec.nothing"),
        ("GET", "/api/v1/pods?limit=1&continue=forged", String::new(), 400, "BadRequest", ""),
        ("PUT", "/api/v1/namespaces", String::new(), 405, "MethodNotAllowed", ""),
        ("GET", "/apis/nothing/v1/things", String::new(), 404, "", ""),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_answers_bad_input_with_the_right_status() {
    let cluster = LocalCluster::up(1, 0);
    let client = cluster.client();
    for (method, path, body, code, reason, words) in cases() {
        let shown = &body[..body.len().min(60)];
        let mut connection = client.connect().await.unwrap();
        let answer = connection
            .send(method, path, Bytes::from(body.clone()))
            .await;
        let answer = answer.unwrap_or_else(|error| panic!("{method} {path} {shown}: {error:#}"));
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.code, code, "{method} {path} {shown}: {text}");
        if !reason.is_empty() {
            let status: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(status["reason"], reason, "{method} {path} {shown}: {text}");
            assert!(
                status["message"].as_str().unwrap().contains(words),
                "{words}: {text}"
            );
        }
        assert_eq!(
            client.get("/readyz").await.unwrap().code,
            200,
            "after {method} {path} {shown}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_revision_is_a_conflict_and_changes_nothing() {
    let cluster = LocalCluster::up(1, 0);
    let mut connection = cluster.client().connect().await.unwrap();
    let body = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":"1"}}"#;
    let made = connection
        .send("POST", CONFIG_MAPS, Bytes::from(body))
        .await
        .unwrap();
    let first = made.json().unwrap();
    let path = format!("{CONFIG_MAPS}/a");
    let mut second = first.clone();
    second["data"]["k"] = "2".into();
    connection
        .send("PUT", &path, second.to_string().into())
        .await
        .unwrap()
        .json()
        .unwrap();
    let mut stale = first;
    stale["data"]["k"] = "3".into();
    let answer = connection
        .send("PUT", &path, stale.to_string().into())
        .await
        .unwrap();
    assert_eq!(answer.code, 409);
    let now = connection
        .send("GET", &path, Bytes::new())
        .await
        .unwrap()
        .json()
        .unwrap();
    assert_eq!(now["data"]["k"], "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_learn_nothing() {
    let cluster = LocalCluster::up(1, 0);
    let mut access = kubeconfig::read(&cluster.kubeconfig()).unwrap();
    let admin = access.identity.take().unwrap();
    let anonymous = Client::new(access.clone()).unwrap();
    assert_eq!(anonymous.get("/api/v1/pods").await.unwrap().code, 401);
    assert_eq!(anonymous.get("/livez").await.unwrap().code, 200);
    access.token = Some("wrong".into());
    assert_eq!(
        Client::new(access.clone())
            .unwrap()
            .get("/api/v1/pods")
            .await
            .unwrap()
            .code,
        401
    );
    let token = std::fs::read_to_string(cluster.layout.admin_token()).unwrap();
    access.token = Some(token);
    assert_eq!(
        Client::new(access.clone())
            .unwrap()
            .get("/api/v1/pods")
            .await
            .unwrap()
            .code,
        200
    );
    access.token = None;

    // A foreign authority's administrator does not get through the handshake.
    let foreign = Authority::generate("kontiki").unwrap();
    access.identity = Some(foreign.issue(&Subject::admin()).unwrap());
    let refused = Client::new(access.clone())
        .unwrap()
        .get("/api/v1/pods")
        .await;
    assert!(refused.is_err(), "{refused:?}");

    // Nor do an administrator of last month and one of next month.
    let pki = cluster.layout.pki();
    let own = Authority::load_or_generate(&pki, "api-ca", API_CA_NAME).unwrap();
    let now = UNIX_EPOCH + Duration::from_millis(SystemClock::shared().unix_ms());
    let day = Duration::from_secs(86_400);
    for (from, until) in [(now - 30 * day, now - day), (now + day, now + 30 * day)] {
        let identity = own.issue_between(&Subject::admin(), from, until).unwrap();
        access.identity = Some(identity);
        let client = Client::new(access.clone()).unwrap();
        let refused = client.get("/api/v1/pods").await;
        assert!(refused.is_err(), "{refused:?}");
    }

    // A user of our own authority, without rights.
    let nobody = Subject {
        name: "nobody".into(),
        client: true,
        ..Subject::default()
    };
    access.identity = Some(own.issue(&nobody).unwrap());
    let answer = Client::new(access.clone())
        .unwrap()
        .get("/api/v1/pods")
        .await
        .unwrap();
    assert_eq!(answer.code, 403, "{answer:?}");

    // Neither a node nor an administrator may speak on the Raft port.
    let (_, peer_port) = cluster.settings().server_ports[0];
    for identity in [own.issue(&Subject::node("node-1")).unwrap(), admin] {
        access.identity = Some(identity);
        access.server = format!("https://127.0.0.1:{peer_port}");
        let refused = Client::new(access.clone()).unwrap().get("/").await;
        assert!(refused.is_err(), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_join_tokens_and_missing_engines_are_one_line() {
    let cluster = LocalCluster::up(1, 0);
    let endpoint = kubeconfig::read(&cluster.kubeconfig())
        .unwrap()
        .endpoint()
        .to_owned();
    let folder = cluster.scratch().join("agent");
    let foreign = format!("K1.{}.abcdef.{}", "0".repeat(64), "0".repeat(32));
    let digest = kontiki::pki::digest_of_pem(
        &std::fs::read_to_string(cluster.layout.pki().join("api-ca.crt")).unwrap(),
    );
    let unknown = format!("K1.{}.abcdef.{}", digest.unwrap(), "0".repeat(32));
    for token in ["nonsense", &foreign, &unknown] {
        let data_dir = folder.to_str().unwrap();
        let args = [
            "agent",
            "--data-dir",
            data_dir,
            "--join",
            &endpoint,
            "--token",
            token,
        ];
        let output = cluster.kontiki(&args);
        assert!(!output.status.success(), "{token}");
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            complaint.lines().any(|line| line.starts_with("kontiki: ")),
            "{complaint}"
        );
        assert!(!folder.join("pki/node.crt").exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_with_an_unknown_key_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.toml");
    std::fs::write(&path, "name = \"a\"\npeer-lisen = \"127.0.0.1:0\"\n").unwrap();
    let output = std::process::Command::new(kontiki_tests::kontiki_binary())
        .args(["server", "--config", path.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        complaint.contains("peer-lisen") && complaint.trim().lines().count() == 1,
        "{complaint}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_log_refuses_to_start_and_the_others_go_on() {
    let cluster = LocalCluster::up(3, 0);
    let leader = cluster.leader().await;
    let victim = leader % 3 + 1;
    let name = format!("server-{victim}");
    let mut connection = cluster.client_of(leader).connect().await.unwrap();
    for idx in 0..50 {
        let body =
            format!(r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"w-{idx}"}}}}"#);
        connection
            .send("POST", CONFIG_MAPS, body.into())
            .await
            .unwrap()
            .json()
            .unwrap();
    }
    eventually("the follower has a watermark beyond nothing", || async {
        let status = cluster.status()?;
        (status["appliedIndex"].as_u64()? > 40).then_some(())
    })
    .await;
    // Ended in good order, so that the watermark is as far as the log.
    cluster.signal(&name, Signal::SIGTERM).await;
    eventually("the replica has ended", || async {
        cluster.process(&name).pid().is_none().then_some(())
    })
    .await;
    // The log's files are emptied; the watermark beside them is not.
    let log = cluster.layout.data(&name).join("store/log");
    for entry in std::fs::read_dir(&log).unwrap().flatten() {
        if entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "log")
        {
            std::fs::write(entry.path(), b"").unwrap();
        }
    }
    let output = cluster.kontiki(&["up", "--detach"]);
    assert!(
        !output.status.success(),
        "a replica that lost acknowledged entries must not vote"
    );
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(complaint.contains(&name), "{complaint}");
}
