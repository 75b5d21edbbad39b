//! Events as they are written: by level, by stage, and when a request ends oddly.

use std::net::IpAddr;

use bytes::Bytes;
use kontiki_base::clock::ManualClock;
use kontiki_base::limits::{AUDIT_OBJECT_BYTES, AUDIT_QUEUE_ENTRIES};
use kontiki_base::metrics::METRICS;
use kontiki_base::status::{Reason, Status};
use serde_json::{Value, json};

use super::*;
use crate::testing::{NOW_UNIX_MS, collection};

fn auditor(rules: Value) -> (Auditor, Entries) {
    let policy = json!({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules});
    let policy = Policy::read(policy).unwrap();
    Auditor::new(policy, ManualClock::at(NOW_UNIX_MS), Resources::default())
}

fn received() -> Received {
    Received {
        audit_id: "id".into(),
        uri: "/api/v1/namespaces/a/pods?x=1".into(),
        user: Some(User {
            name: "ann".into(),
            groups: vec!["dev".into()],
            ..User::default()
        }),
        source_ips: vec!["1.2.3.4".into()],
        user_agent: "x\r\n{\"fake\":1}".into(),
    }
}

fn creates_pod() -> About {
    About {
        verb: "create".into(),
        target: Some(collection("pods", "a")),
    }
}

fn events(entries: &mut Entries) -> Vec<Value> {
    let lines = String::from_utf8(entries.ready_lines()).unwrap();
    let read = |line| serde_json::from_str(line).unwrap();
    lines.lines().map(read).collect()
}

#[test]
fn an_event_tells_who_what_and_how_it_ended() {
    let (auditor, mut entries) = auditor(json!([{"level": "Metadata"}]));
    let trail = auditor.begin(received(), &creates_pod());
    trail.annotate("authorization.k8s.io/decision", || "allow".into());
    trail.annotate("authorization.k8s.io/decision", || "forbid".into());
    trail.impersonates(&User {
        name: "bob".into(),
        ..User::default()
    });
    trail.sends(&json!({"metadata": {"name": "p"}, "spec": {"secret": "s3cret"}}));
    trail.answers(|| Bytes::from_static(b"{\"secret\":\"s3cret\"}"));
    trail.complete(201, None);
    drop(trail);
    let events = events(&mut entries);
    assert_eq!(events[0]["stage"], "RequestReceived");
    let mut expected = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": "id",
        "stage": "ResponseComplete", "requestURI": "/api/v1/namespaces/a/pods?x=1", "verb": "create",
        "user": {"username": "ann", "groups": ["dev"]}, "impersonatedUser": {"username": "bob"},
        "sourceIPs": ["1.2.3.4"], "userAgent": "x\r\n{\"fake\":1}",
        "objectRef": {"resource": "pods", "namespace": "a", "name": "p", "apiVersion": "v1"},
        "responseStatus": {"metadata": {}, "code": 201},
        "requestReceivedTimestamp": "2026-01-01T00:00:00.000000Z",
        "stageTimestamp": "2026-01-01T00:00:00.000000Z",
        "annotations": {"authorization.k8s.io/decision": "allow"},
    });
    assert_eq!(events[1], expected.take());
    assert_eq!(events.len(), 2);
}

#[test]
fn levels_say_which_bodies_are_kept() {
    for (level, request, response) in [
        ("Metadata", false, false),
        ("Request", true, false),
        ("RequestResponse", true, true),
    ] {
        let rules =
            json!([{"level": level, "omitStages": ["RequestReceived"], "omitManagedFields": true}]);
        let (auditor, mut entries) = auditor(rules);
        let trail = auditor.begin(received(), &creates_pod());
        trail.sends(&json!({"metadata": {"name": "p", "managedFields": [1]}}));
        trail.answers(|| {
            Bytes::from_static(b"{\"items\":[{\"metadata\":{\"managedFields\":[1]}}]}")
        });
        trail.complete(200, None);
        let events = events(&mut entries);
        assert_eq!(events.len(), 1, "{level}");
        let sent = request.then(|| json!({"metadata": {"name": "p"}}));
        assert_eq!(events[0].get("requestObject"), sent.as_ref(), "{level}");
        let answered = response.then(|| json!({"items": [{"metadata": {}}]}));
        assert_eq!(
            events[0].get("responseObject"),
            answered.as_ref(),
            "{level}"
        );
    }
}

#[test]
fn nothing_is_kept_of_what_the_policy_leaves_out() {
    let (auditor, mut entries) =
        auditor(json!([{"level": "None", "verbs": ["create"]}, {"level": "Request"}]));
    let trail = auditor.begin(received(), &creates_pod());
    trail.complete(201, None);
    drop(trail);
    assert_eq!(events(&mut entries), [] as [Value; 0]);
}

#[test]
fn failures_and_requests_that_nobody_waits_for_end_too() {
    let (auditor, mut entries) =
        auditor(json!([{"level": "RequestResponse", "omitStages": ["RequestReceived"]}]));
    let forbidden = Status::new(Reason::Forbidden, "no");
    let trail = auditor.begin(received(), &creates_pod());
    trail.complete_with(Err(&forbidden));
    drop(auditor.begin(received(), &creates_pod()));
    let long = auditor.begin(received(), &creates_pod());
    long.started(200);
    drop(long);
    auditor
        .begin_unknown(Received {
            user: None,
            ..received()
        })
        .refused(
            creates_pod,
            &Status::new(Reason::Unauthorized, "Unauthorized"),
            "attempted: bearer",
        );
    let panicked = auditor.begin(received(), &creates_pod());
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _held = panicked;
        panic!("as a test");
    }));
    assert!(caught.is_err());
    let events = events(&mut entries);
    let told: Vec<(&str, u64)> = events
        .iter()
        .map(|event| {
            (
                event["stage"].as_str().unwrap(),
                event["responseStatus"]["code"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("ResponseComplete", 403),
            ("ResponseComplete", 504),
            ("ResponseStarted", 200),
            ("ResponseComplete", 200),
            ("ResponseStarted", 401),
            ("Panic", 500),
        ]
    );
    assert_eq!(events[0]["responseObject"]["reason"], "Forbidden");
    assert_eq!(events[0]["responseStatus"]["message"], "no");
    assert_eq!(events[4]["user"], json!({}));
    assert_eq!(events[4]["responseStatus"]["message"], "attempted: bearer");
}

#[test]
fn objects_beyond_the_limit_are_left_out_and_told() {
    let (auditor, mut entries) = auditor(json!([{"level": "RequestResponse"}]));
    let trail = auditor.begin(received(), &creates_pod());
    trail.answers(|| Bytes::from(vec![b' '; AUDIT_OBJECT_BYTES + 1]));
    trail.complete(200, None);
    let events = events(&mut entries);
    assert_eq!(events[1].get("responseObject"), None);
    assert_eq!(events[1]["annotations"]["audit.k8s.io/truncated"], "true");
}

#[test]
fn objects_that_are_sealed_at_rest_are_never_recorded() {
    let (auditor, mut entries) = auditor(json!([{"level": "RequestResponse"}]));
    let about = About {
        verb: "create".into(),
        target: Some(collection("secrets", "a")),
    };
    let trail = auditor.begin(received(), &about);
    trail.sends(&json!({"metadata": {"name": "p"}, "data": {"x": "czNjcmV0"}}));
    trail.answers(|| Bytes::from_static(b"{\"data\":\"czNjcmV0\"}"));
    trail.complete(201, None);
    let events = events(&mut entries);
    assert!(
        !json!(events).to_string().contains("czNjcmV0"),
        "{events:?}"
    );
    assert_eq!(events[1]["level"], "Metadata");
    assert_eq!(events[1]["objectRef"]["name"], "p");
    assert_eq!(
        events[1]["annotations"]["kontiki.io/sealed-at-rest"],
        "true"
    );
}

#[test]
fn a_full_queue_drops_and_counts() {
    let (auditor, mut entries) =
        auditor(json!([{"level": "Metadata", "omitStages": ["RequestReceived"]}]));
    let dropped = METRICS.audit_dropped_total.get();
    for _ in 0..AUDIT_QUEUE_ENTRIES + 3 {
        auditor
            .begin(received(), &creates_pod())
            .complete(200, None);
    }
    assert_eq!(METRICS.audit_dropped_total.get() - dropped, 3);
    assert_eq!(events(&mut entries).len(), AUDIT_QUEUE_ENTRIES);
    auditor
        .begin(received(), &creates_pod())
        .complete(200, None);
    assert_eq!(events(&mut entries).len(), 1);
}

#[test]
fn what_one_writes_in_a_batch_has_records_of_their_own() {
    let (auditor, mut entries) =
        auditor(json!([{"level": "Metadata", "omitStages": ["RequestReceived"]}]));
    let whole = auditor.begin_unknown(received());
    let part = whole.part();
    part.about(creates_pod);
    part.complete(201, None);
    whole.complete(200, None);
    let events = events(&mut entries);
    assert_eq!(
        (&events[0]["verb"], &events[1]["verb"]),
        (&json!("create"), &json!("post"))
    );
    assert_eq!(events[1].get("objectRef"), None);
}

#[test]
fn addresses_are_proxies_first_and_the_peer_last() {
    let peer: Option<IpAddr> = Some("::ffff:10.0.0.9".parse().unwrap());
    for (forwarded, real, expected) in [
        (None, None, vec!["10.0.0.9"]),
        (
            Some("1.1.1.1, 2.2.2.2"),
            Some("3.3.3.3"),
            vec!["1.1.1.1", "2.2.2.2", "10.0.0.9"],
        ),
        (
            Some("nonsense"),
            Some("3.3.3.3"),
            vec!["3.3.3.3", "10.0.0.9"],
        ),
        (Some("10.0.0.9"), None, vec!["10.0.0.9"]),
    ] {
        assert_eq!(source_ips(forwarded, real, peer), expected);
    }
}
