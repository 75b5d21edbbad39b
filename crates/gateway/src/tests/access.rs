//! Who sees what: health for all, paths by right, the issuer of tokens, reviews, acting as someone else.

use axum::body::Body;
use http::Request;
use kontiki_apiserver::testing::PLAIN_TOKEN;
use serde_json::json;

use super::{Client, PODS, as_admin};

#[tokio::test]
async fn strangers_see_health_only() {
    let client = Client::new().await;
    let anonymous = |path: &str| Request::get(path).body(Body::empty()).unwrap();
    for path in [
        "/livez",
        "/readyz",
        "/healthz",
        "/livez/ping",
        "/readyz?verbose",
    ] {
        assert_eq!(client.send(anonymous(path)).await.code, 200, "{path}");
    }
    for path in [
        "/api",
        "/apis",
        "/metrics",
        "/version",
        "/openid/v1/jwks",
        PODS,
        "/nope",
        "/openapi/v3",
    ] {
        let answer = client.send(anonymous(path)).await;
        assert_eq!(
            (answer.code, answer.message().as_str()),
            (401, "Unauthorized"),
            "{path}"
        );
    }
    let plain = |path: &str| {
        let request = Request::get(path).header("authorization", format!("Bearer {PLAIN_TOKEN}"));
        request.body(Body::empty()).unwrap()
    };
    let forbidden = client.send(plain(PODS)).await;
    assert_eq!(forbidden.code, 403);
    assert!(
        forbidden
            .message()
            .contains("User \"jane\" cannot list resource \"pods\"")
    );
    for path in ["/metrics", "/version", "/apis", "/nope", "/openid/v1/jwks"] {
        let message = format!("forbidden: User \"jane\" cannot get path \"{path}\"");
        let answer = client.send(plain(path)).await;
        assert_eq!((answer.code, answer.message()), (403, message));
    }
    let metrics = client.get("/metrics", "*/*").await;
    let metrics = String::from_utf8_lossy(&metrics.body);
    for (name, kind, _) in kontiki_base::metrics::CATALOG {
        let line = format!("# TYPE kontiki_{name} {kind}\n");
        assert!(metrics.contains(&line), "{name}");
    }
    let verbose = client.send(anonymous("/livez?verbose=true")).await;
    assert_eq!(verbose.body, "[+]ping ok\nlivez check passed\n");
}

#[tokio::test]
async fn the_keys_of_tokens_are_published() {
    let client = Client::new().await;
    let keys = client.get("/openid/v1/jwks", "*/*").await;
    assert_eq!(keys.header("content-type"), "application/jwk-set+json");
    assert_eq!(keys.json()["keys"][0]["alg"], "ES256");
    let path = "/.well-known/openid-configuration";
    let configuration = client.get(path, "*/*").await;
    assert_eq!(
        configuration.header("cache-control"),
        "public, max-age=3600"
    );
    let issuer = "https://kubernetes.default.svc.cluster.local";
    assert_eq!(configuration.json()["issuer"], issuer);
}

#[tokio::test]
async fn reviews_are_asked_only_and_say_who_acts() {
    let client = Client::new().await;
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let ask = |name: &'static str, value: &'static str| {
        let request = as_admin("POST", path).header("content-type", "application/json");
        let request = request.header(name, value);
        client.send(request.body("{}".into()).unwrap())
    };
    let myself = ask("accept", "*/*").await;
    assert_eq!(
        (myself.code, &myself.json()["kind"]),
        (201, &json!("SelfSubjectReview"))
    );
    let table = ask("accept", "application/json;as=Table;v=v1;g=meta.k8s.io").await;
    assert_eq!(table.code, 406, "{}", table.json());
    let user = myself.json()["status"]["userInfo"].clone();
    assert_eq!(user["username"], "kubernetes-admin");
    let acting = ask("impersonate-user", "system:serviceaccount:default:web").await;
    let message = "selfsubjectreviews.authentication.k8s.io is forbidden: User \
                   \"system:serviceaccount:default:web\" cannot create resource \"selfsubjectreviews\" in API group \
                   \"authentication.k8s.io\" at the cluster scope";
    assert_eq!((acting.code, acting.message().as_str()), (403, message));
    assert_eq!(ask("impersonate-group", "x").await.code, 400);
    for (method, path) in [
        ("GET", path.to_owned()),
        ("GET", format!("{path}/x")),
        ("DELETE", path.to_owned()),
    ] {
        assert_eq!(
            client
                .write(method, &path, "application/json", "")
                .await
                .code,
            405,
            "{path}"
        );
    }
    let plain = Request::post("/api/v1/namespaces/default/pods")
        .header("authorization", format!("Bearer {PLAIN_TOKEN}"))
        .header("impersonate-user", "kubernetes-admin")
        .header("impersonate-group", "system:masters");
    let refused = client.send(plain.body(Body::empty()).unwrap()).await;
    let message = "users \"kubernetes-admin\" is forbidden: User \"jane\" cannot impersonate resource \"users\" in \
                   API group \"\" at the cluster scope";
    assert_eq!((refused.code, refused.message().as_str()), (403, message));
}
