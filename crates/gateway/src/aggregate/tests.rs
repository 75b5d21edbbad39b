//! What is read from URLs of other servers, and what they are sent.

use std::collections::BTreeMap;

use super::*;

#[test]
fn urls_tell_what_is_asked() {
    for (method, path, is_watch, expected) in [
        (
            "GET",
            "/apis/m.io/v1/pods",
            false,
            ("list", "pods", "", "", ""),
        ),
        (
            "GET",
            "/apis/m.io/v1/namespaces/ns/pods",
            true,
            ("watch", "pods", "", "ns", ""),
        ),
        (
            "GET",
            "/apis/m.io/v1/namespaces/ns/pods/p",
            false,
            ("get", "pods", "", "ns", "p"),
        ),
        (
            "PUT",
            "/apis/m.io/v1/namespaces/ns/pods/p/status",
            false,
            ("update", "pods", "status", "ns", "p"),
        ),
        (
            "POST",
            "/apis/m.io/v1/nodes",
            false,
            ("create", "nodes", "", "", ""),
        ),
        (
            "DELETE",
            "/apis/m.io/v1/nodes",
            false,
            ("deletecollection", "nodes", "", "", ""),
        ),
        (
            "PATCH",
            "/apis/m.io/v1/nodes/n",
            false,
            ("patch", "nodes", "", "", "n"),
        ),
        (
            "GET",
            "/apis/m.io/v1/watch/nodes",
            false,
            ("watch", "nodes", "", "", ""),
        ),
        ("GET", "/apis/m.io/v1", false, ("list", "", "", "", "")),
    ] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let info = request_info(&method, path, is_watch).unwrap();
        let (verb, resource, subresource, namespace, name) = expected;
        let expected = RequestInfo {
            verb,
            group: "m.io".into(),
            resource: resource.into(),
            subresource: subresource.into(),
            namespace: namespace.into(),
            name: name.into(),
        };
        assert_eq!(info, expected, "{path}");
    }
}

#[test]
fn the_user_is_named_and_nobody_else_can_be() {
    let request = Request::builder()
        .uri("/apis/m.io/v1/nodes?limit=1")
        .header("authorization", "Bearer secret")
        .header("x-remote-user", "admin")
        .header("impersonate-user", "admin")
        .header("connection", "keep-alive")
        .header("accept", "application/json")
        .body(axum::body::Body::empty())
        .unwrap();
    let user = User {
        name: "jane".into(),
        uid: "u".into(),
        groups: vec!["a".into(), "b".into()],
        extra: BTreeMap::from([("example.com/key".to_owned(), vec!["v".to_owned()])]),
    };
    let outgoing = outgoing(request, &user);
    assert_eq!(outgoing.uri().path(), "/apis/m.io/v1/nodes");
    assert_eq!(outgoing.uri().query(), Some("limit=1"));
    let mut headers: Vec<(String, String)> = outgoing
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    let expected = [
        ("accept", "application/json"),
        ("x-remote-extra-example.com%2fkey", "v"),
        ("x-remote-group", "a"),
        ("x-remote-group", "b"),
        ("x-remote-uid", "u"),
        ("x-remote-user", "jane"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(headers, expected);
}
