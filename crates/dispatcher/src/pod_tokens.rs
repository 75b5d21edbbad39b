//! Tokens of ServiceAccounts for pods: a node asks, as itself, for those of the pods that run on it.
//!
//! The request is an ordinary TokenRequest: the node authorizer and NodeRestriction judge it as any other.

use kontiki_api::{Subresource, time};
use kontiki_apiserver::authn::{Credentials, PeerCert};
use kontiki_apiserver::{ApiServer, Body, Context, Target, User, WriteOptions};
use kontiki_proto::node::{RequestTokenRequest, RequestTokenResponse};
use serde_json::json;
use tonic::{Code, Status};

use crate::write::kind;

/// Issues a token to the node whose certificate it is.
pub(crate) async fn issue(
    api: &ApiServer,
    cert: Option<&PeerCert>,
    wanted: RequestTokenRequest,
) -> Result<RequestTokenResponse, Status> {
    let credentials = Credentials {
        cert_der: cert.map(|cert| &*cert.0),
        bearer: None,
    };
    let user = api.authenticate(credentials).map_err(refused)?;
    issue_to(api, user, wanted).await
}

async fn issue_to(
    api: &ApiServer,
    user: User,
    wanted: RequestTokenRequest,
) -> Result<RequestTokenResponse, Status> {
    let context = Context {
        user,
        user_agent: "kontiki-agent".to_owned(),
        ..Context::default()
    };
    let target = Target::object(
        kind("serviceaccounts"),
        wanted.namespace,
        wanted.service_account,
    );
    let body = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {
            "audiences": wanted.audiences,
            "expirationSeconds": wanted.expiration_seconds,
            "boundObjectRef": {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": wanted.pod_name,
                "uid": wanted.pod_uid,
            },
        },
    });
    let target = target.with(Subresource::Token);
    let options = WriteOptions::default();
    let written = api
        .create(&context, &target, Body::from(body), &options)
        .await;
    let status = written.map_err(refused)?.object.value()["status"].take();
    let text = |field: &str| status[field].as_str().unwrap_or_default();
    let expires = time::parse(text("expirationTimestamp")).unwrap_or_default();
    Ok(RequestTokenResponse {
        token: text("token").to_owned(),
        expires_unix_ms: i64::try_from(expires).unwrap_or(i64::MAX),
    })
}

fn refused(status: kontiki_base::status::Status) -> Status {
    Status::new(Code::from_i32(status.reason.grpc_code()), status.message)
}

#[cfg(test)]
mod tests {
    use kontiki_apiserver::testing::{NOW_UNIX_MS, create, pod, server};
    use serde_json::Value;

    use super::*;

    fn node(name: &str) -> User {
        User {
            name: format!("system:node:{name}"),
            groups: vec!["system:nodes".into(), "system:authenticated".into()],
            ..User::default()
        }
    }

    fn request(pod: &Value) -> RequestTokenRequest {
        let text = |pointer: &str| pod.pointer(pointer).unwrap().as_str().unwrap().to_owned();
        RequestTokenRequest {
            namespace: "default".into(),
            service_account: text("/spec/serviceAccountName"),
            audiences: Vec::new(),
            expiration_seconds: 3600,
            pod_name: text("/metadata/name"),
            pod_uid: text("/metadata/uid"),
        }
    }

    #[tokio::test]
    async fn a_node_gets_tokens_of_its_own_pods_only() {
        let api = server().await;
        let account = json!({"metadata": {"name": "robot"}});
        create(&api, "serviceaccounts", "default", account).await;
        let mut web = pod("web");
        web["spec"]["serviceAccountName"] = json!("robot");
        web["spec"]["nodeName"] = json!("n1");
        let web = create(&api, "pods", "default", web).await;

        let issued = issue_to(&api, node("n1"), request(&web)).await.unwrap();
        assert_eq!(issued.token.split('.').count(), 3);
        assert_eq!(issued.expires_unix_ms, NOW_UNIX_MS as i64 + 3_600_000);

        let other = issue_to(&api, node("n2"), request(&web)).await.unwrap_err();
        assert_eq!(other.code(), Code::PermissionDenied);
        let mut stale = request(&web);
        stale.pod_uid = "another".into();
        let stale = issue_to(&api, node("n1"), stale).await.unwrap_err();
        assert_eq!(stale.code(), Code::PermissionDenied);
        let stranger = issue(&api, None, request(&web)).await.unwrap_err();
        assert_eq!(stranger.code(), Code::Unauthenticated);
    }
}
