//! Protobuf over HTTP: bodies, answers, lists long and short, watch frames, failures.

use kontiki_api::protobuf;

use super::*;

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

impl Answer {
    fn protobuf(&self) -> Value {
        assert_eq!(self.header("content-type"), PROTOBUF);
        protobuf::decode(&self.body, ("", "")).unwrap()
    }
}

fn config_map(name: &str, text: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"text": text},
    })
}

impl Client {
    async fn post(&self, path: &str, object: &Value) -> Answer {
        let request = as_admin("POST", path)
            .header("content-type", PROTOBUF)
            .header(
                "accept",
                "application/vnd.kubernetes.protobuf,application/json",
            );
        let body = protobuf::encode(object).unwrap();
        self.send(request.body(body.into()).unwrap()).await
    }
}

#[tokio::test]
async fn an_object_lives_and_dies_in_protobuf() {
    let client = Client::new().await;
    let created = client.post(CONFIG_MAPS, &config_map("a", "b")).await;
    assert_eq!(created.code, 201, "{created:?}");
    let mut object = created.protobuf();
    assert_eq!(object["data"], json!({"text": "b"}));

    let path = format!("{CONFIG_MAPS}/a");
    let stored = client.get(&path, "application/json").await.json();
    assert_eq!(client.get(&path, PROTOBUF).await.protobuf(), stored);
    object["data"]["text"] = "c".into();
    let body = protobuf::encode(&object).unwrap();
    let updated = client.write("PUT", &path, PROTOBUF, body).await;
    assert_eq!(updated.json()["data"]["text"], "c", "{updated:?}");

    let options = json!({
        "kind": "DeleteOptions", "apiVersion": "v1",
        "preconditions": {"uid": "another"}, "gracePeriodSeconds": 0,
    });
    let body = protobuf::encode(&options).unwrap();
    let kept = client.write("DELETE", &path, PROTOBUF, body).await;
    assert_eq!(kept.code, 409, "{}", kept.message());
    let options = json!({"kind": "DeleteOptions", "apiVersion": "apps/v1", "dryRun": ["All"]});
    let body = protobuf::encode(&options).unwrap();
    let tried = client.write("DELETE", &path, PROTOBUF, body.clone()).await;
    assert_eq!(tried.code, 200, "{tried:?}");
    let mut request = as_admin("DELETE", &path).header("accept", PROTOBUF);
    request = request.header("content-type", PROTOBUF);
    let gone = client.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(
        (gone.code, &gone.protobuf()["status"]),
        (200, &json!("Success"))
    );
    let failed = client.get(&path, PROTOBUF).await;
    let status = failed.protobuf();
    assert_eq!(
        (failed.code, &status["message"], &status["details"]["name"]),
        (404, &json!("configmaps \"a\" not found"), &json!("a"))
    );
}

#[tokio::test]
async fn subresources_take_protobuf() {
    let client = Client::new().await;
    client.create_pod("a").await;
    let eviction = json!({
        "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a", "namespace": "default"},
        "deleteOptions": {"gracePeriodSeconds": 0},
    });
    let evicted = client.post(&format!("{PODS}/a/eviction"), &eviction).await;
    assert_eq!(evicted.code, 201, "{evicted:?}");
    assert_eq!(evicted.protobuf()["status"], "Success");
}

#[tokio::test]
async fn lists_and_metadata_in_protobuf() {
    let client = Client::new().await;
    for name in ["a", "b"] {
        client.post(CONFIG_MAPS, &config_map(name, "x")).await;
    }
    let list = client.get(CONFIG_MAPS, "application/json").await.json();
    assert_eq!(client.get(CONFIG_MAPS, PROTOBUF).await.protobuf(), list);
    let page = client
        .get(&format!("{CONFIG_MAPS}?limit=1"), PROTOBUF)
        .await
        .protobuf();
    assert_eq!(page["metadata"]["remainingItemCount"], 1);
    assert!(page["metadata"]["continue"].is_string());
    let of_meta = "application/vnd.kubernetes.protobuf;g=meta.k8s.io;v=v1";
    let partial = client
        .get(
            CONFIG_MAPS,
            &format!("{of_meta};as=PartialObjectMetadataList"),
        )
        .await;
    let partial = partial.protobuf();
    assert_eq!(partial["kind"], "PartialObjectMetadataList");
    assert_eq!(
        partial["items"][1]["metadata"],
        list["items"][1]["metadata"]
    );
    let partial = client
        .get(
            &format!("{CONFIG_MAPS}/a"),
            &format!("{of_meta};as=PartialObjectMetadata"),
        )
        .await;
    assert_eq!(partial.protobuf()["metadata"], list["items"][0]["metadata"]);
    // A Table has no protobuf form: the next clause is served.
    let table = "as=Table;v=v1;g=meta.k8s.io";
    let accept = format!("{PROTOBUF};{table},application/json;{table}");
    assert_eq!(
        client.get(CONFIG_MAPS, &accept).await.json()["kind"],
        "Table"
    );
    let refused = client
        .get(CONFIG_MAPS, &format!("{PROTOBUF};{table}"))
        .await;
    assert_eq!(
        refused.message(),
        "only the following media types are accepted: application/json, application/yaml, \
         application/vnd.kubernetes.protobuf"
    );
}

#[tokio::test]
async fn long_lists_are_measured_streamed_and_compressed() {
    let client = Client::new().await;
    for index in 0..12 {
        let object = config_map(&format!("c{index:02}"), &"x".repeat(100_000 + index));
        assert_eq!(client.post(CONFIG_MAPS, &object).await.code, 201);
    }
    let list = client.get(CONFIG_MAPS, "application/json").await.json();
    let plain = client.get(CONFIG_MAPS, PROTOBUF).await;
    assert!(plain.body.len() > 1024 * 1024);
    assert_eq!(plain.protobuf(), list);
    let request = as_admin("GET", CONFIG_MAPS)
        .header("accept", PROTOBUF)
        .header("accept-encoding", "gzip");
    let packed = client.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    let mut unpacked = Vec::new();
    let mut decoder = flate2::read::GzDecoder::new(&*packed.body);
    std::io::Read::read_to_end(&mut decoder, &mut unpacked).unwrap();
    assert_eq!(unpacked, plain.body);
}

/// Takes the frames that are complete off the front.
fn frames(bytes: &mut Vec<u8>) -> Vec<Bytes> {
    let mut frames = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some(frame) = rest.get(..length) else {
            break;
        };
        frames.push(Bytes::copy_from_slice(frame));
        bytes.drain(..4 + length);
    }
    frames
}

/// The object in a frame whose event is of that kind.
fn object_of(frame: &Bytes, kind: &str) -> Value {
    let start = frame
        .windows(4)
        .position(|bytes| bytes == b"k8s\0")
        .unwrap();
    let head = protobuf::event(kind, &frame[start..]);
    assert_eq!(head, frame[..], "{kind}");
    protobuf::decode(&frame[start..], ("", "")).unwrap()
}

#[tokio::test]
async fn watches_send_frames_after_their_length() {
    let client = Client::new().await;
    client.create_pod("a").await;
    let path = format!(
        "{PODS}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    );
    let accept = "application/vnd.kubernetes.protobuf;stream=watch";
    let request = as_admin("GET", &path).header("accept", accept);
    let response = client.response(request.body(Body::empty()).unwrap()).await;
    assert_eq!(response.headers()["content-type"], accept);
    let mut chunks = response.into_body().into_data_stream();
    let (mut bytes, mut seen) = (Vec::new(), Vec::new());
    while seen.len() < 2 {
        bytes.extend_from_slice(&chunks.next().await.unwrap().unwrap());
        seen.extend(frames(&mut bytes));
    }
    let stored = client.get(&format!("{PODS}/a"), "application/json").await;
    assert_eq!(object_of(&seen[0], "ADDED"), stored.json());
    let bookmark = object_of(&seen[1], "BOOKMARK");
    assert_eq!(
        bookmark["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );

    let path = format!("{PODS}?watch=1");
    let request = as_admin("GET", &path).header("accept", "application/yaml");
    let refused = client.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(refused.code, 406);
    assert!(String::from_utf8_lossy(&refused.body).contains("protobuf;stream=watch"));
}

#[tokio::test]
async fn what_is_no_object_is_refused() {
    let client = Client::new().await;
    for (body, message) in [
        (
            &b"k8s\0"[..],
            "the object provided is unrecognized (must be of type ConfigMap): empty body (6b387300)",
        ),
        (
            b"{}",
            "the object provided is unrecognized (must be of type ConfigMap): provided data does not appear to be a \
             protobuf message, expected prefix [107 56 115 0] (7b7d)",
        ),
        (
            b"k8s\0\x12\x01\x0a",
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: unexpected EOF",
        ),
    ] {
        let refused = client
            .write("POST", CONFIG_MAPS, PROTOBUF, body.to_vec())
            .await;
        assert_eq!((refused.code, &*refused.message()), (400, message));
    }
    let refused = client.post(CONFIG_MAPS, &testing::pod("a")).await;
    assert_eq!(refused.code, 400);
    let message = refused.protobuf()["message"].to_string();
    assert!(
        message.contains("cannot be handled as a ConfigMap"),
        "{message}"
    );
    let refused = client
        .write("PATCH", &format!("{CONFIG_MAPS}/a"), PROTOBUF, "")
        .await;
    assert_eq!(refused.code, 415);
    // Failures are written as the client asked wherever they come from.
    let request = Request::get(CONFIG_MAPS).header("accept", PROTOBUF);
    let stranger = client.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(
        (stranger.code, &stranger.protobuf()["reason"]),
        (401, &json!("Unauthorized"))
    );
    let refused = client.get("/api/v1/foos", "application/yaml").await;
    assert_eq!(
        (refused.code, refused.header("content-type")),
        (404, "application/yaml")
    );
}
