//! Seats under a flood, however requests end, and when the configuration changes.

use futures::FutureExt as _;
use kontiki_base::task::{TaskKind, spawn};
use serde_json::json;

use super::*;
use crate::options::User;
use crate::server::Options;
use crate::testing::{self, Memory, collection};

/// A server of few seats with the levels and schemas that a cluster begins with.
async fn server(n_seats: u32) -> ApiServer {
    let options = Options {
        requests_in_flight: n_seats,
        ..Options::default()
    };
    let server = testing::server_with_options(Memory::default(), options).await;
    for (resource, objects) in [
        (config::LEVELS, kontiki_api::flowcontrol::priority_levels()),
        (config::SCHEMAS, kontiki_api::flowcontrol::flow_schemas()),
    ] {
        for (name, spec) in objects {
            let object = json!({"metadata": {"name": name}, "spec": spec});
            testing::create(&server, resource, "", object).await;
        }
    }
    server
}

fn by(name: &str, group: &str) -> Context {
    let groups = vec![group.to_owned(), "system:authenticated".to_owned()];
    Context {
        user: User {
            name: name.into(),
            groups,
            ..User::default()
        },
        ..Context::default()
    }
}

async fn take(
    server: &ApiServer,
    context: &Context,
    verb: &str,
    resource: &str,
) -> Result<Option<Seat>, Status> {
    let target = collection(resource, "default");
    server
        .take_seat(context, verb, "", Some(&target), None)
        .await
        .1
}

#[tokio::test]
async fn a_flood_of_one_user_stops_nobody_else() {
    let server = server(40).await;
    let flood = by("flood", "dev");
    let mut held = Vec::new();
    let mut waiting = Vec::new();
    let mut n_refused = 0;
    // More than all seats and all places in its queues.
    for _ in 0..2000 {
        let mut one = Box::pin(take(&server, &flood, "list", "pods"));
        match one.as_mut().now_or_never() {
            Some(Ok(seat)) => held.push(seat),
            Some(Err(status)) => {
                assert_eq!(status.reason, Reason::TooManyRequests);
                n_refused += 1;
            }
            None => waiting.push(one),
        }
    }
    assert!(!held.is_empty() && !waiting.is_empty() && n_refused > 0);
    // The system's own is served at once: it has seats that nobody borrows.
    for (context, verb, resource) in [
        (
            by("system:node:n1", "system:nodes"),
            "update",
            "leases.coordination.k8s.io",
        ),
        (by("system:node:n1", "system:nodes"), "get", "secrets"),
        (
            by("system:kube-controller-manager", ""),
            "update",
            "leases.coordination.k8s.io",
        ),
        (by("root", "system:masters"), "list", "pods"),
    ] {
        let seat = take(&server, &context, verb, resource).now_or_never();
        assert!(matches!(seat, Some(Ok(_))), "{context:?}");
    }
    // Another user of the same level waits for a few seats, not for the flood to end.
    let other = by("ann", "dev");
    let mut ann = Box::pin(take(&server, &other, "get", "pods"));
    assert!(ann.as_mut().now_or_never().is_none());
    let mut n_released = 0;
    let seat = loop {
        if let Some(seat) = ann.as_mut().now_or_never() {
            break seat;
        }
        held.pop()
            .expect("ann is served long before the flood is over");
        n_released += 1;
        // Who got the seat instead keeps it.
        waiting.retain_mut(|one| {
            one.as_mut().now_or_never().is_none_or(|seat| {
                held.insert(0, seat.unwrap());
                false
            })
        });
    };
    assert!(seat.is_ok());
    assert!(n_released <= 8, "{n_released}");
    assert!(waiting.len() > 100, "{}", waiting.len());
}

#[tokio::test]
async fn seats_come_back_however_a_request_ends() {
    let server = server(40).await;
    let ann = by("ann", "dev");
    let executing = || {
        server.0.fairness.get().map_or(0, |fairness| {
            let levels = fairness.levels.lock();
            levels
                .iter()
                .map(|level| level.executing as usize + level.queues.n_waiting())
                .sum::<usize>()
        })
    };
    let mut held = Vec::new();
    while let Some(seat) = take(&server, &ann, "get", "pods").now_or_never() {
        held.push(seat.unwrap());
    }
    // One waits and leaves; one is given a seat and leaves before it takes it.
    let mut leaving = Box::pin(take(&server, &ann, "get", "pods"));
    assert!(leaving.as_mut().now_or_never().is_none());
    drop(leaving);
    let mut late = Box::pin(take(&server, &ann, "get", "pods"));
    assert!(late.as_mut().now_or_never().is_none());
    assert_eq!(executing(), held.len() + 1);
    held.pop();
    assert_eq!(executing(), held.len() + 1, "the seat is on its way");
    drop(late);
    assert_eq!(executing(), held.len());
    held.clear();
    assert_eq!(executing(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_is_refused() {
    let server = server(40).await;
    let ann = by("ann", "dev");
    let mut held = Vec::new();
    while let Some(seat) = take(&server, &ann, "get", "pods").now_or_never() {
        held.push(seat.unwrap());
    }
    let status = take(&server, &ann, "get", "pods").await.err().unwrap();
    assert_eq!(status.reason, Reason::TooManyRequests);
    assert_eq!(status.details.unwrap().retry_after_seconds, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn seats_are_never_more_than_there_are() {
    let server = server(20).await;
    let tasks = (0..400).map(|number| {
        let server = server.clone();
        spawn(TaskKind::Request, async move {
            let user = by(&format!("user-{}", number % 7), "dev");
            if let Ok(Some(seat)) = take(&server, &user, "get", "pods").await {
                tokio::task::yield_now().await;
                let fairness = server.0.fairness.get().unwrap();
                let executing: u32 = fairness
                    .levels
                    .lock()
                    .iter()
                    .map(|level| level.executing)
                    .sum();
                // Besides one for each level that has none.
                assert!(executing <= 20 + 8, "{executing}");
                drop(seat);
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let fairness = server.0.fairness.get().unwrap();
    let levels = fairness.levels.lock();
    assert!(
        levels
            .iter()
            .all(|level| level.executing == 0 && level.queues.n_waiting() == 0)
    );
}

#[tokio::test]
async fn a_change_of_levels_holds_at_once() {
    let server = server(40).await;
    let ann = by("ann", "dev");
    take(&server, &ann, "get", "pods").await.unwrap();
    let schema = json!({"metadata": {"name": "ann"}, "spec": {
        "priorityLevelConfiguration": {"name": "exempt"}, "matchingPrecedence": 5,
        "rules": [{"subjects": [{"kind": "User", "user": {"name": "ann"}}],
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}]}]}});
    let schema = testing::create(&server, config::SCHEMAS, "", schema).await;
    let target = collection("pods", "default");
    let (belonging, seat) = server.take_seat(&ann, "get", "", Some(&target), None).await;
    assert!(matches!(seat, Ok(None)));
    assert_eq!(
        *belonging.schema_uid,
        *schema["metadata"]["uid"].as_str().unwrap()
    );
    assert!(!belonging.level_uid.is_empty());
}

#[tokio::test]
async fn before_anything_is_stored_the_mandatory_ones_hold() {
    let server = testing::server().await;
    let admin = take(&server, &testing::admin(), "get", "pods").await;
    assert!(matches!(admin, Ok(None)));
    let ann = take(&server, &by("ann", "dev"), "get", "pods").await;
    assert!(matches!(ann, Ok(Some(_))));
}

#[test]
fn lists_are_as_wide_as_they_are_long() {
    for (n_objects, limit, expected) in [
        (0, None, 1),
        (100, None, 1),
        (101, None, 2),
        (1_000_000, None, 10),
        (1_000_000, Some(500), 5),
        (50, Some(500), 1),
        (1000, Some(0), 10),
    ] {
        assert_eq!(width_of_list(n_objects, limit), expected);
    }
}
