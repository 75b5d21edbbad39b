//! What gateways ask, and who is believed to be one.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use kontiki_apiserver::authn::PeerCert;
use kontiki_apiserver::relay::{GATEWAY_PREFIX, GATEWAYS};
use kontiki_apiserver::testing::{self, NOW_UNIX_MS};
use kontiki_proto::api as proto;
use kontiki_proto::api::feed_event::Type;
use kontiki_proto::api::feed_request::Start;
use kontiki_proto::api::gateway_service_server::GatewayService as _;
use rcgen::{CertificateParams, DnType, KeyPair};
use time::OffsetDateTime;
use tokio_stream::StreamExt as _;
use tonic::{Code, Request};

use super::joining::Strict;
use crate::gateway::Service;

/// A certificate for somebody, as the listener found it good.
fn cert(name: &str, group: &str) -> PeerCert {
    let now = OffsetDateTime::from_unix_timestamp(NOW_UNIX_MS as i64 / 1000).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
        .distinguished_name
        .push(DnType::OrganizationName, group);
    params.not_before = now - time::Duration::hours(1);
    params.not_after = now + time::Duration::hours(1);
    let signed = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    PeerCert(Bytes::copy_from_slice(signed.der()))
}

fn feed_of(resource: &str, start: Start, cert: Option<PeerCert>) -> Request<proto::FeedRequest> {
    let mut request = Request::new(proto::FeedRequest {
        version: "v1".into(),
        resource: resource.into(),
        start: start.into(),
        ..proto::FeedRequest::default()
    });
    // Whatever else a request says.
    let metadata = request.metadata_mut();
    let token = format!("Bearer {}", testing::ADMIN_TOKEN);
    metadata.insert("authorization", token.parse().unwrap());
    metadata.insert(
        "impersonate-user",
        "system:kontiki:gateway:x".parse().unwrap(),
    );
    metadata.insert("impersonate-group", GATEWAYS.parse().unwrap());
    if let Some(cert) = cert {
        request.extensions_mut().insert(cert);
    }
    request
}

fn gateway() -> PeerCert {
    cert(&format!("{GATEWAY_PREFIX}g1"), GATEWAYS)
}

#[tokio::test]
async fn only_a_certificate_of_their_group_makes_a_gateway() {
    let service = Service::new(testing::server().await, Router::new(), Arc::new(Strict));
    for (cert, code) in [
        (None, Code::Unauthenticated),
        (Some(cert("root", "system:masters")), Code::PermissionDenied),
        (
            Some(cert("system:node:n1", "system:nodes")),
            Code::PermissionDenied,
        ),
        (Some(cert(GATEWAYS, "others")), Code::PermissionDenied),
    ] {
        let refused = service.feed(feed_of("pods", Start::Oldest, cert)).await;
        assert_eq!(refused.err().unwrap().code(), code);
    }
    let begun = service.feed(feed_of("pods", Start::Oldest, Some(gateway())));
    assert!(begun.await.is_ok());
    let unknown = service.feed(feed_of("nonsense", Start::Oldest, Some(gateway())));
    assert_eq!(unknown.await.err().unwrap().code(), Code::NotFound);
    let malformed = service.feed(feed_of("pods", Start::Unspecified, Some(gateway())));
    assert_eq!(malformed.await.err().unwrap().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_feed_tells_what_happened_and_what_is_there() {
    let server = testing::server().await;
    let service = Service::new(server.clone(), Router::new(), Arc::new(Strict));
    testing::create(&server, "pods", "default", testing::pod("a")).await;
    let events = service.feed(feed_of("pods", Start::Oldest, Some(gateway())));
    let mut events = events.await.unwrap().into_inner();
    let present = service.feed(feed_of("pods", Start::Present, Some(gateway())));
    let mut present = present.await.unwrap().into_inner();

    let head = events.next().await.unwrap().unwrap();
    assert!(head.events.is_empty() && head.objects.is_empty());
    let mut told = Vec::new();
    while told.is_empty() {
        told = events.next().await.unwrap().unwrap().events;
    }
    assert_eq!(told[0].r#type(), Type::Added);
    let object = told[0].object.clone().unwrap();
    assert_eq!(
        (object.name.as_str(), &object.labels["app"]),
        ("a", &"a".to_owned())
    );
    assert!(!String::from_utf8_lossy(&object.json).contains("resourceVersion"));

    assert!(present.next().await.unwrap().unwrap().floor >= object.revision);
    let there = present.next().await.unwrap().unwrap().objects;
    assert_eq!(there, [object]);

    testing::create(&server, "pods", "default", testing::pod("b")).await;
    for stream in [&mut events, &mut present] {
        let mut piece = proto::FeedResponse::default();
        while piece.events.is_empty() {
            piece = stream.next().await.unwrap().unwrap();
        }
        assert_eq!(piece.events[0].object.as_ref().unwrap().name, "b");
        assert!(piece.revision >= piece.events[0].object.as_ref().unwrap().revision);
    }
}
