//! Who may, and what a failing control plane looks like.

use std::time::Duration;

use kontiki_apiserver::authn::Credentials;
use kontiki_apiserver::testing::{
    self, ADMIN_TOKEN, Memory, PLAIN_TOKEN, admin, collection, create, jane, object, server_with,
};
use kontiki_apiserver::{Body, Context, GetOptions, ListOptions, WriteOptions};
use kontiki_base::status::Reason;
use kontiki_consensus::{Lane, ProposeError};
use serde_json::json;

use super::{get, post};

#[tokio::test]
async fn tokens_make_users_and_nothing_makes_nobody() {
    let server = testing::server().await;
    let user = |bearer| {
        server.authenticate(Credentials {
            cert_der: None,
            bearer,
        })
    };
    assert!(
        user(Some(ADMIN_TOKEN))
            .unwrap()
            .groups
            .contains(&"system:masters".to_owned())
    );
    assert_eq!(
        user(Some(PLAIN_TOKEN)).unwrap().groups,
        ["system:authenticated"]
    );
    for bearer in [None, Some("wrong"), Some("")] {
        let status = user(bearer).unwrap_err();
        assert_eq!(
            (status.reason, status.message.as_str()),
            (Reason::Unauthorized, "Unauthorized")
        );
    }
}

#[tokio::test]
async fn refusals_are_in_upstreams_words() {
    let server = testing::server().await;
    let pods = collection("pods", "default");
    let status = server
        .list(&jane(), &pods, &ListOptions::default())
        .await
        .unwrap_err();
    assert_eq!(status.reason, Reason::Forbidden);
    assert_eq!(
        status.message,
        "pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\""
    );
    let node = object("nodes", "", "n1");
    let status = server
        .get(&jane(), &node, &GetOptions::default())
        .await
        .unwrap_err();
    assert_eq!(
        status.message,
        "nodes \"n1\" is forbidden: User \"jane\" cannot get resource \"nodes\" in API group \"\" at the cluster scope"
    );
    assert_eq!(status.details.unwrap().name, "n1");
}

#[tokio::test]
async fn a_node_reads_itself_only() {
    let server = testing::server().await;
    let mut agent = jane();
    agent.user.name = "system:node:n1".into();
    agent.user.groups.push("system:nodes".into());
    let read = async |name: &str| {
        let status = server
            .get(&agent, &object("nodes", "", name), &GetOptions::default())
            .await;
        status.unwrap_err().reason
    };
    assert_eq!(read("n1").await, Reason::NotFound);
    assert_eq!(read("n2").await, Reason::Forbidden);
}

#[tokio::test]
async fn an_election_passes_unnoticed_and_an_unknown_outcome_is_told() {
    let memory = Memory::default();
    let server = testing::server_over(memory.clone()).await;
    let maps = collection("configmaps", "default");
    memory.fail_next(ProposeError::NoLeader);
    post(&server, &maps, json!({"metadata": {"name": "a"}}))
        .await
        .unwrap();
    let cases = [
        (ProposeError::Unknown, Reason::Timeout, 0),
        (
            ProposeError::LaneFull {
                retry_after: Duration::from_millis(1500),
            },
            Reason::TooManyRequests,
            2,
        ),
        (ProposeError::TooLarge, Reason::RequestEntityTooLarge, 0),
        (ProposeError::Stopping, Reason::ServiceUnavailable, 1),
    ];
    for (error, reason, seconds) in cases {
        memory.fail_next(error);
        let status = post(&server, &maps, json!({"metadata": {"name": "b"}}))
            .await
            .unwrap_err();
        assert_eq!(status.reason, reason);
        let after = status
            .details
            .map_or(0, |details| details.retry_after_seconds);
        assert_eq!(after, seconds, "{reason:?}");
    }
    assert!(
        get(&server, &object("configmaps", "default", "b"))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn events_and_system_users_have_their_lanes() {
    let memory = Memory::default();
    let server = testing::server_over(memory.clone()).await;
    let event = json!({"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "namespace": "default"}});
    post(&server, &collection("events", "default"), event)
        .await
        .unwrap();
    let mut system: Context = admin();
    system.user.name = "system:kontiki".into();
    let body = Body::from(json!({"metadata": {"name": "a"}}));
    let target = collection("configmaps", "default");
    server
        .create(&system, &target, body, &WriteOptions::default())
        .await
        .unwrap();
    let lanes = memory.lanes();
    assert_eq!(lanes[lanes.len() - 2..], [Lane::Events, Lane::System]);
    assert_eq!(lanes[0], Lane::User);
}

/// Heard of at one moment.
struct HeardAt(u64);

impl kontiki_apiserver::NodeLiveness for HeardAt {
    fn last_heartbeat_unix_ms(&self, _: &str) -> Option<u64> {
        Some(self.0)
    }
}

#[tokio::test]
async fn a_nodes_lease_and_heartbeat_are_answered_from_memory() {
    let heard = std::sync::Arc::new(HeardAt(4_000_000_000_000));
    let server = server_with(Memory::default(), heard).await;
    let node = json!({"metadata": {"name": "n"}, "status": {"conditions": [{"type": "Ready",
        "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}]}});
    let node = create(&server, "nodes", "", node).await;
    let got = get(&server, &object("nodes", "", "n")).await.unwrap();
    assert_eq!(
        got["status"]["conditions"][0]["lastHeartbeatTime"],
        "2096-10-02T07:06:40Z"
    );
    let leases = "leases.coordination.k8s.io";
    let lease = get(&server, &object(leases, "kube-node-lease", "n"))
        .await
        .unwrap();
    assert_eq!(lease["spec"]["renewTime"], "2096-10-02T07:06:40.000000Z");
    assert_eq!(
        lease["metadata"]["ownerReferences"][0]["uid"],
        node["metadata"]["uid"]
    );
    let other = get(&server, &object(leases, "default", "n")).await;
    assert_eq!(other.unwrap_err().reason, Reason::NotFound);
}
