//! What reading one object allocates: its bytes, once, and nothing else that grows with it. A decoder would show here.

use allocation_counter::{AllocationInfo, measure};
use axum::Router;
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use kontiki_apiserver::testing::{self, ADMIN_TOKEN};
use kontiki_gateway::{GatewayOptions, router};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

const SMALL_ITEMS: usize = 10;
const LARGE_ITEMS: usize = 10_000;
/// Allocations that two requests may differ by for other reasons: a buffer grown here, a table there.
const SLACK: u64 = 16;
const SLACK_BYTES: u64 = 4096;

fn config_map(name: &str, n_items: usize) -> Value {
    let data: serde_json::Map<String, Value> = (0..n_items)
        .map(|idx| (format!("key-{idx:06}"), json!("value")))
        .collect();
    json!({"metadata": {"name": name}, "data": data})
}

/// The answer's length, and what making it allocated on this thread.
fn read(runtime: &Runtime, router: &Router, name: &str) -> (u64, AllocationInfo) {
    let request = || {
        Request::get(format!("/api/v1/namespaces/default/configmaps/{name}"))
            .header("authorization", format!("Bearer {ADMIN_TOKEN}"))
            .header("accept", "application/json")
            .body(Body::empty())
            .expect("a request of constants")
    };
    let answered = |request: Request<Body>| async {
        let response = router
            .clone()
            .oneshot(request)
            .await
            .expect("a router always answers");
        assert_eq!(response.status(), 200);
        let mut body = response.into_body();
        let mut n_bytes = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.expect("a body from memory");
            n_bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        n_bytes
    };
    // The first time makes what is kept: where the revision goes, what the registry knows.
    runtime.block_on(answered(request()));
    let (request, mut n_bytes) = (request(), 0);
    let info = measure(|| n_bytes = runtime.block_on(answered(request)));
    (n_bytes, info)
}

#[test]
fn reading_an_object_allocates_its_bytes_once() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let router = runtime.block_on(async {
        let server = testing::server().await;
        for (name, n_items) in [("small", SMALL_ITEMS), ("large", LARGE_ITEMS)] {
            testing::create(&server, "configmaps", "default", config_map(name, n_items)).await;
        }
        router(server, GatewayOptions::default())
    });
    let (small_bytes, small) = read(&runtime, &router, "small");
    let (large_bytes, large) = read(&runtime, &router, "large");
    assert!(
        large_bytes > 100 * small_bytes,
        "{small_bytes} and {large_bytes}"
    );
    assert!(
        large.count_total <= small.count_total + SLACK,
        "{} allocations for the small, {} for the large",
        small.count_total,
        large.count_total
    );
    let grown = large.bytes_total.saturating_sub(small.bytes_total);
    assert!(
        grown <= large_bytes - small_bytes + SLACK_BYTES,
        "{grown} bytes allocated for {} more bytes of answer",
        large_bytes - small_bytes
    );
}
