//! exec and its like as far as no node is needed: who may, what is refused, and that a refusal closes the connection.

use axum::body::Body;
use http::Request;
use kontiki_apiserver::testing::{ADMIN_TOKEN, PLAIN_TOKEN};
use serde_json::json;

use super::{Answer, Client, PODS};

impl Client {
    /// Asks for a WebSocket.
    async fn websocket(&self, token: &str, path: &str) -> Answer {
        let request = Request::get(path)
            .header("authorization", format!("Bearer {token}"))
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("sec-websocket-protocol", "v5.channel.k8s.io");
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// A pod on a node that has no session here.
    async fn with_pod() -> Self {
        let client = Self::new().await;
        assert_eq!(client.create_pod("a").await.code, 201);
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n1"},
        });
        let path = format!("{PODS}/a/binding");
        let bound = client
            .write("POST", &path, "application/json", binding.to_string())
            .await;
        assert_eq!(bound.code, 201, "{}", bound.json());
        client
    }
}

#[tokio::test]
async fn the_right_to_get_runs_no_command() {
    let client = Client::with_pod().await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let subresources = ["pods/exec", "pods/attach", "pods/portforward"];
    let role = |verbs: &[&str]| {
        json!({
            "metadata": {"name": "looks"},
            "rules": [{"apiGroups": [""], "resources": subresources, "verbs": verbs}],
        })
        .to_string()
    };
    let binding = json!({
        "metadata": {"name": "looks"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "looks"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}],
    });
    let write = async |method: &str, path: &str, body: String| {
        let written = client.write(method, path, "application/json", body).await;
        assert!(written.code < 300, "{}", written.json());
    };
    write("POST", &format!("{rbac}/roles"), role(&["get"])).await;
    write("POST", &format!("{rbac}/rolebindings"), binding.to_string()).await;
    for name in ["exec", "attach", "portforward"] {
        let path = format!("{PODS}/a/{name}?command=x&stdout=1&ports=80");
        let refused = client.websocket(PLAIN_TOKEN, &path).await;
        assert_eq!(refused.code, 403, "{name}");
        let cannot = format!("cannot create resource \"pods/{name}\"");
        assert!(refused.message().contains(&cannot), "{}", refused.message());
        assert_eq!(refused.header("connection"), "close");
    }
    write(
        "PUT",
        &format!("{rbac}/roles/looks"),
        role(&["get", "create"]),
    )
    .await;
    let path = format!("{PODS}/a/exec?command=x&stdout=1");
    let allowed = client.websocket(PLAIN_TOKEN, &path).await;
    assert_ne!(allowed.code, 403, "{}", allowed.message());
}

#[tokio::test]
async fn what_does_not_come_about_closes_its_connection() {
    let client = Client::with_pod().await;
    client.create_pod("nowhere").await;
    for (path, code, message) in [
        ("a/exec?command=x&stdout=1", 400, "Upgrade request required"),
        ("a/attach?stdout=1", 400, "Upgrade request required"),
        ("a/portforward", 400, "Upgrade request required"),
        ("none/exec", 404, "pods \"none\" not found"),
        (
            "a/exec?container=b",
            400,
            "container b is not valid for pod a",
        ),
        (
            "nowhere/exec",
            400,
            "pod nowhere does not have a host assigned",
        ),
        ("none/proxy/", 404, "pods \"none\" not found"),
        ("a:x:y:z/proxy/", 400, "invalid pod request \"a:x:y:z\""),
        ("a:0/proxy/", 400, "invalid pod request \"a:0\""),
        ("a:80/proxy/", 400, "address not allowed"),
    ] {
        let refused = client.get(&format!("{PODS}/{path}"), "*/*").await;
        assert_eq!(
            (refused.code, refused.message().as_str()),
            (code, message),
            "{path}"
        );
        assert_eq!(refused.header("connection"), "close", "{path}");
    }
    let no_streams = client
        .websocket(ADMIN_TOKEN, &format!("{PODS}/a/exec?command=x"))
        .await;
    assert_eq!(no_streams.code, 400);
    assert_eq!(
        no_streams.body,
        "you must specify at least 1 of stdin, stdout, stderr\n"
    );
    let put = client
        .write("PUT", &format!("{PODS}/a/exec"), "application/json", "{}")
        .await;
    assert_eq!(put.code, 405);
}

#[tokio::test]
async fn a_service_without_endpoints_is_unavailable() {
    let client = Client::new().await;
    let services = "/api/v1/namespaces/default/services";
    let service = json!({
        "metadata": {"name": "web"}, "spec": {"ports": [{"name": "http", "port": 80}]},
    });
    let made = client
        .write("POST", services, "application/json", service.to_string())
        .await;
    assert_eq!(made.code, 201, "{}", made.json());
    for (name, message) in [
        ("web:http", "no endpoints available for service \"web\""),
        ("web:80", "no endpoints available for service \"web\""),
        ("web:81", "no service port 81 found for service \"web\""),
    ] {
        let refused = client
            .get(&format!("{services}/{name}/proxy/x"), "*/*")
            .await;
        assert_eq!((refused.code, refused.message().as_str()), (503, message));
    }
}
