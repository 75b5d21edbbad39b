//! Joins in the audit log: that someone tried and whether it worked, and nothing of the token.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, ready};
use kontiki_apiserver::testing;
use kontiki_base::status::{Reason, Status};
use kontiki_proto::cluster as proto;
use kontiki_proto::cluster::join_service_server::JoinService as _;
use serde_json::{Value, json};

use crate::join::{
    ClientIdentity, JoinAuthority, JoinGateway, JoinNode, JoinServer, Role, ServerIdentity,
    Service, TokenInfo,
};

/// Knows one token.
pub struct Strict;

fn refused<T: Send + 'static>() -> BoxFuture<'static, Result<T, Status>> {
    Box::pin(ready(Err(Status::new(
        Reason::Unauthorized,
        "the token is not valid",
    ))))
}

impl JoinAuthority for Strict {
    fn keys(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    fn create_token(
        &self,
        _: Role,
        _: Option<Duration>,
    ) -> BoxFuture<'_, Result<(String, TokenInfo), Status>> {
        refused()
    }

    fn list_tokens(&self) -> BoxFuture<'_, Result<Vec<TokenInfo>, Status>> {
        refused()
    }

    fn delete_token(&self, _: &str) -> BoxFuture<'_, Result<(), Status>> {
        refused()
    }

    fn join_node(&self, request: JoinNode) -> BoxFuture<'_, Result<ClientIdentity, Status>> {
        if request.token != "right-secret" {
            return refused();
        }
        Box::pin(ready(Ok(ClientIdentity {
            certificate_pem: String::new(),
            ca_pem: String::new(),
            server_endpoints: Vec::new(),
        })))
    }

    fn join_gateway(&self, _: JoinGateway) -> BoxFuture<'_, Result<ClientIdentity, Status>> {
        refused()
    }

    fn renew_gateway(
        &self,
        _: Vec<u8>,
        _: String,
    ) -> BoxFuture<'_, Result<ClientIdentity, Status>> {
        refused()
    }

    fn is_client(&self, _: &[u8]) -> bool {
        true
    }

    fn join_server(&self, _: JoinServer) -> BoxFuture<'_, Result<ServerIdentity, Status>> {
        refused()
    }
}

#[tokio::test]
async fn joins_are_recorded_without_their_tokens() {
    let (server, mut entries) =
        testing::server_audited(json!([{"level": "RequestResponse"}])).await;
    let service = Service::new(
        Arc::new(Strict),
        server.options().auditor.clone(),
        server.options().clock.clone(),
    );
    for token in ["wrong-secret", "right-secret"] {
        let request = proto::JoinNodeRequest {
            token: token.into(),
            ..proto::JoinNodeRequest::default()
        };
        let joined = service.join_node(tonic::Request::new(request)).await;
        assert_eq!(joined.is_ok(), token == "right-secret");
    }
    let lines = String::from_utf8(entries.ready_lines()).unwrap();
    assert!(!lines.contains("secret"), "{lines}");
    let told = lines.lines().filter_map(|line| {
        let event: Value = serde_json::from_str(line).unwrap();
        let code = event["responseStatus"]["code"].as_u64()?;
        Some((
            event["user"]["username"].to_string(),
            event["requestURI"].to_string(),
            code,
        ))
    });
    let (user, uri) = (
        "\"system:anonymous\"",
        "\"/kontiki.cluster.v1.JoinService/JoinNode\"",
    );
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            (user.into(), uri.into(), 401),
            (user.into(), uri.into(), 200)
        ]
    );
}
