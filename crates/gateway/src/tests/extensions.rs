//! What others add to the API: admission policies and aggregated API servers, seen through REST.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use futures::future::BoxFuture;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kontiki_apiserver::outbound::{Address, Dialer, Direct, Io, OutboundOptions};
use kontiki_apiserver::testing::Memory;
use kontiki_apiserver::{ApiServer, Options};
use kontiki_base::task::{TaskKind, spawn};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

const JSON: &str = "application/json";

#[tokio::test]
async fn a_policy_refuses_and_warns_through_rest() {
    let client = Client::new().await;
    let admission = "/apis/admissionregistration.k8s.io/v1";
    let policy = json!({
        "metadata": {"name": "rules"},
        "spec": {
            "matchConstraints": {"resourceRules": [
                {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]},
            ]},
            "validations": [{
                "expression": "has(object.data) && object.data.size() < 2",
                "messageExpression": "'too much in ' + object.metadata.name",
            }],
        },
    });
    let written = client
        .write(
            "POST",
            &format!("{admission}/validatingadmissionpolicies"),
            JSON,
            policy.to_string(),
        )
        .await;
    assert_eq!(written.code, 201, "{}", written.json());
    let binding = |action: &str| {
        json!({
            "metadata": {"name": action.to_lowercase()},
            "spec": {
                "policyName": "rules", "validationActions": [action],
                "matchResources": {"objectSelector": {"matchLabels": {"how": action}}},
            },
        })
    };
    for action in ["Deny", "Warn"] {
        let path = format!("{admission}/validatingadmissionpolicybindings");
        let written = client
            .write("POST", &path, JSON, binding(action).to_string())
            .await;
        assert_eq!(written.code, 201, "{}", written.json());
    }
    let map = |how: &str| json!({"metadata": {"name": "m", "labels": {"how": how}}, "data": {"a": "", "b": ""}});
    let maps = "/api/v1/namespaces/default/configmaps";
    let refused = client
        .write("POST", maps, JSON, map("Deny").to_string())
        .await;
    assert_eq!(refused.code, 422);
    assert_eq!(
        refused.message(),
        "configmaps \"m\" is forbidden: ValidatingAdmissionPolicy 'rules' with binding 'deny' denied request: too much in m"
    );
    assert_eq!(refused.json()["reason"], "Invalid");
    let warned = client
        .write("POST", maps, JSON, map("Warn").to_string())
        .await;
    assert_eq!(warned.code, 201);
    assert_eq!(
        warned.header("warning"),
        "299 - \"Validation failed for ValidatingAdmissionPolicy 'rules' with binding 'warn': too much in m\""
    );
}

#[tokio::test]
async fn a_rule_that_does_not_compile_is_refused_at_once() {
    let client = Client::new().await;
    let policy = json!({
        "metadata": {"name": "rules"},
        "spec": {
            "matchConstraints": {"resourceRules": [
                {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]},
            ]},
            "validations": [{"expression": "objct.data == 1"}],
        },
    });
    let path = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
    let refused = client.write("POST", path, JSON, policy.to_string()).await;
    assert_eq!(refused.code, 422);
    assert!(
        refused
            .message()
            .contains("undeclared reference to 'objct'"),
        "{}",
        refused.message()
    );
}

/// Every address is this one.
struct Redirected(SocketAddr);

impl Dialer for Redirected {
    fn dial(&self, _: &Address) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        Direct.dial(&Address {
            ip: self.0.ip(),
            port: self.0.port(),
            node: None,
            pod_uid: None,
        })
    }
}

/// A TLS server that tells what it was asked, as whom.
async fn echo() -> SocketAddr {
    let key = KeyPair::generate().unwrap();
    let names = vec!["metrics.default.svc".to_owned()];
    let certificate = CertificateParams::new(names)
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    spawn(TaskKind::Listener, async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            spawn(TaskKind::Connection, async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service_fn(told))
                    .await;
            });
        }
    });
    address
}

async fn told(
    request: Request<Incoming>,
) -> Result<http::Response<http_body_util::Full<Bytes>>, hyper::Error> {
    let user = request.headers().get("x-remote-user");
    let user = user.and_then(|user| user.to_str().ok()).unwrap_or_default();
    let body = json!({
        "kind": "APIResourceList", "method": request.method().as_str(), "path": request.uri().to_string(), "user": user,
        "resources": [{"name": "nodes", "singularName": "", "namespaced": false, "kind": "NodeMetrics", "verbs": ["get"]}],
    });
    let mut response = http::Response::new(http_body_util::Full::from(body.to_string()));
    response
        .headers_mut()
        .insert("content-type", http::HeaderValue::from_static(JSON));
    Ok(response)
}

async fn aggregating() -> (Client, ApiServer) {
    let outbound = OutboundOptions {
        dialer: Arc::new(Redirected(echo().await)),
        allow_loopback: false,
    };
    let options = Options {
        outbound,
        ..Options::default()
    };
    let api = testing::server_with_options(Memory::default(), options).await;
    let service = json!({"metadata": {"name": "metrics"}, "spec": {"ports": [{"port": 443}]}});
    testing::create(&api, "services", "default", service).await;
    let slice = json!({
        "metadata": {"name": "metrics-1", "labels": {"kubernetes.io/service-name": "metrics"}},
        "addressType": "IPv4", "ports": [{"port": 4443}], "endpoints": [{"addresses": ["10.1.2.3"]}],
    });
    testing::create(&api, "endpointslices.discovery.k8s.io", "default", slice).await;
    for (group, service) in [
        ("metrics.example.com", "metrics"),
        ("dead.example.com", "nobody"),
    ] {
        let registered = json!({
            "metadata": {"name": format!("v1beta1.{group}")},
            "spec": {
                "group": group, "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100,
                "insecureSkipTLSVerify": true, "service": {"namespace": "default", "name": service},
            },
        });
        testing::create(&api, "apiservices.apiregistration.k8s.io", "", registered).await;
    }
    api.look_at_extensions(true).await;
    (Client(router(api.clone(), GatewayOptions::default())), api)
}

#[tokio::test]
async fn another_server_answers_for_its_group_in_the_users_name() {
    let (client, _) = aggregating().await;
    let path = "/apis/metrics.example.com/v1beta1/nodes?limit=5";
    let answer = client.get(path, JSON).await;
    assert_eq!(answer.code, 200);
    assert_eq!(answer.json()["path"], path);
    assert_eq!(answer.json()["method"], "GET");
    assert_eq!(answer.json()["user"], "kubernetes-admin");
    let stranger = Request::builder()
        .uri(path)
        .header("authorization", format!("Bearer {}", testing::PLAIN_TOKEN))
        .body(Body::empty())
        .unwrap();
    let refused = client.send(stranger).await;
    assert_eq!(refused.code, 403);
    assert_eq!(
        refused.message(),
        "nodes.metrics.example.com is forbidden: User \"jane\" cannot list resource \"nodes\" in API group \
         \"metrics.example.com\" at the cluster scope"
    );
}

#[tokio::test]
async fn a_dead_server_takes_nothing_down_but_itself() {
    let (client, _) = aggregating().await;
    let dead = client
        .get("/apis/dead.example.com/v1beta1/things", JSON)
        .await;
    assert_eq!(dead.code, 503);
    assert_eq!(client.get(PODS, JSON).await.code, 200);
    let groups = client.get("/apis", JSON).await.json();
    let names: Vec<&str> = groups["groups"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|group| group["name"].as_str())
        .collect();
    assert!(
        names.contains(&"apps") && names.ends_with(&["dead.example.com", "metrics.example.com"]),
        "{names:?}"
    );
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let document = client.get("/apis", aggregated).await.json();
    let items = document["items"].as_array().cloned().unwrap_or_default();
    let of = |name: &str| {
        let found = items.iter().find(|item| item["metadata"]["name"] == name);
        found
            .map(|item| item["versions"][0].clone())
            .unwrap_or_default()
    };
    assert_eq!(of("dead.example.com")["freshness"], "Stale");
    let live = of("metrics.example.com");
    assert_eq!(live["freshness"], "Current");
    assert_eq!(live["resources"][0]["resource"], "nodes");
    assert_eq!(live["resources"][0]["responseKind"]["kind"], "NodeMetrics");
    let group = client.get("/apis/dead.example.com", JSON).await;
    assert_eq!(group.json()["preferredVersion"]["version"], "v1beta1");
    assert_eq!(client.get("/apis/nobody.example.com", JSON).await.code, 404);
}
