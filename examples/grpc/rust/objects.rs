//! The life of an object over Kontiki's gRPC API: list, create, watch and resume, conflict, delete.
//!
//! `cargo run -p kontiki-proto --example objects -- 127.0.0.1:6443 CA_FILE TOKEN_FILE`
//!
//! Another project generates the client from `proto/` with tonic-prost-build. What the calls mean stands in docs/grpc.md.

use std::error::Error;

use kontiki_proto::api::object_service_client::ObjectServiceClient;
use kontiki_proto::api::watch_response::Type;
use kontiki_proto::api::{
    CreateRequest, DeleteRequest, GetRequest, ListRequest, ObjectRef, UpdateRequest, WatchRequest,
    WatchResponse,
};
use serde_json::{Value, json};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

const NAMESPACE: &str = "default";
const NAME: &str = "grpc-rust";

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;
type Objects = ObjectServiceClient<InterceptedService<Channel, Bearer>>;

/// Puts the token on every call.
#[derive(Clone)]
pub struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> std::result::Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        metadata.insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// Names a ConfigMap or, without a name, all of them in the namespace.
fn config_map(name: &str) -> Option<ObjectRef> {
    Some(ObjectRef {
        version: "v1".into(),
        resource: "configmaps".into(),
        namespace: NAMESPACE.into(),
        name: name.into(),
        ..ObjectRef::default()
    })
}

async fn connect(server: &str, ca_pem: &str, token: &str) -> Result<Objects> {
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca_pem));
    let endpoint = Channel::from_shared(format!("https://{server}"))?.tls_config(tls)?;
    let bearer = Bearer(format!("Bearer {}", token.trim()).parse()?);
    let channel = endpoint.connect().await?;
    Ok(ObjectServiceClient::with_interceptor(channel, bearer))
}

/// All names of a collection, a page at a time.
async fn names(objects: &mut Objects) -> Result<Vec<String>> {
    let (mut names, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListRequest {
            r#ref: config_map(""),
            page_size: 10,
            page_token,
            ..ListRequest::default()
        };
        let page = objects.list(request).await?.into_inner();
        let refs = page.objects.into_iter().filter_map(|object| object.r#ref);
        names.extend(refs.map(|it| it.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(names);
        }
    }
}

/// Follows the collection until all that is there was told; answers with the token that resumes after it.
async fn present(objects: &mut Objects) -> Result<String> {
    let request = WatchRequest {
        r#ref: config_map(""),
        ..WatchRequest::default()
    };
    let mut events = objects.watch(request).await?.into_inner();
    while let Some(event) = events.message().await? {
        if event.r#type() == Type::InitialEnd {
            return Ok(event.resume_token);
        }
    }
    Err("the watch ended early".into())
}

/// The first event of the object after a token: nothing in between is lost, whichever replica answers.
async fn next_change(objects: &mut Objects, resume_token: String) -> Result<WatchResponse> {
    let request = WatchRequest {
        r#ref: config_map(""),
        resume_token,
        ..WatchRequest::default()
    };
    let mut events = objects.watch(request).await?.into_inner();
    while let Some(event) = events.message().await? {
        let named = event.object.as_ref().and_then(|it| it.r#ref.as_ref());
        if named.is_some_and(|named| named.name == NAME) {
            return Ok(event);
        }
    }
    Err("the watch ended early".into())
}

/// A failure's code, its reason and the name that it is about: what a program can read of it.
fn why(status: &Status) -> (Code, String, String) {
    let Some(info) = status.get_details_error_info() else {
        return (status.code(), String::new(), String::new());
    };
    let name = info.metadata.get("name").cloned().unwrap_or_default();
    (status.code(), info.reason, name)
}

/// Runs the example.
pub async fn run(server: &str, ca_pem: &str, token: &str) -> Result<()> {
    let mut objects = connect(server, ca_pem, token).await?;
    assert!(!names(&mut objects).await?.contains(&NAME.to_owned()));
    let resume_token = present(&mut objects).await?;

    let body = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": NAME}, "data": {"key": "one"},
    });
    let request = CreateRequest {
        r#ref: config_map(""),
        json: body.to_string().into(),
        ..CreateRequest::default()
    };
    let created = objects.create(request).await?.into_inner().object;
    let created = created.ok_or("no object")?;
    println!("created {NAME} at revision {}", created.revision);
    assert!(names(&mut objects).await?.contains(&NAME.to_owned()));

    let event = next_change(&mut objects, resume_token).await?;
    assert_eq!(event.r#type(), Type::Added);
    println!("the watch resumed and saw it at {}", event.resume_token);

    // Whoever writes says which revision he read, so that nobody's change is lost.
    let mut changed: Value = serde_json::from_slice(&created.json)?;
    changed["data"]["key"] = "two".into();
    let update = UpdateRequest {
        r#ref: config_map(NAME),
        json: changed.to_string().into(),
        ..UpdateRequest::default()
    };
    let updated = objects.update(update.clone()).await?.into_inner().object;
    let updated = updated.ok_or("no object")?;
    assert!(updated.revision > created.revision);
    let refused = objects.update(update).await.err().ok_or("a lost update")?;
    let (code, reason, _) = why(&refused);
    assert_eq!((code, reason.as_str()), (Code::Aborted, "Conflict"));
    println!("the same update again: {code:?}, {reason}");

    let request = DeleteRequest {
        r#ref: config_map(NAME),
        ..DeleteRequest::default()
    };
    objects.delete(request).await?;
    let request = GetRequest {
        r#ref: config_map(NAME),
        ..GetRequest::default()
    };
    let gone = objects.get(request).await.err().ok_or("still there")?;
    assert_eq!(why(&gone), (Code::NotFound, "NotFound".into(), NAME.into()));
    let event = next_change(&mut objects, updated.revision.to_string()).await?;
    assert_eq!(event.r#type(), Type::Deleted);
    println!("deleted");
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, ca_file, token_file] = arguments.as_slice() else {
        return Err("usage: objects HOST:PORT CA_FILE TOKEN_FILE".into());
    };
    let read = std::fs::read_to_string;
    run(server, &read(ca_file)?, &read(token_file)?).await
}
