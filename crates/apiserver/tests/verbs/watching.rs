//! Watch: initial events, selection changes, bookmarks, the past that is gone.

use std::time::Duration;

use futures::StreamExt;
use kontiki_apiserver::PatchType::Merge;
use kontiki_apiserver::testing::{self, admin, collection, create, object, pod};
use kontiki_apiserver::{ApiServer, WatchEvent, WatchOptions, WatchStream};
use kontiki_base::status::{Reason, Status};
use kontiki_state::Command;
use serde_json::json;

use super::{delete, patch, revision};

async fn watch(server: &ApiServer, options: WatchOptions) -> Result<WatchStream, Status> {
    server
        .watch(&admin(), &collection("pods", "default"), &options)
        .await
}

/// An event in short: `+name@revision`, `~`, `-`, or `=revision` for a bookmark.
fn short(event: WatchEvent) -> String {
    let (sign, object) = match event {
        WatchEvent::Added(object) => ('+', object),
        WatchEvent::Modified(object) => ('~', object),
        WatchEvent::Deleted(object) => ('-', object),
        WatchEvent::Bookmark {
            initial_end: true, ..
        } => return "=initial".into(),
        WatchEvent::Bookmark { revision, .. } => return format!("={revision}"),
    };
    format!("{sign}{}@{}", object.key.name, object.revision)
}

async fn next(stream: &mut WatchStream) -> String {
    short(stream.next().await.expect("an event").expect("no failure"))
}

fn from(resource_version: &str) -> WatchOptions {
    let resource_version = Some(resource_version.to_owned());
    WatchOptions {
        resource_version,
        ..WatchOptions::default()
    }
}

#[tokio::test]
async fn a_watch_without_a_revision_begins_with_what_is_there() {
    let server = testing::server().await;
    let a = create(&server, "pods", "default", pod("a")).await;
    let mut stream = watch(&server, WatchOptions::default()).await.unwrap();
    assert_eq!(next(&mut stream).await, format!("+a@{}", revision(&a)));
    let b = create(&server, "pods", "default", pod("b")).await;
    assert_eq!(next(&mut stream).await, format!("+b@{}", revision(&b)));
    delete(&server, &object("pods", "default", "a"))
        .await
        .unwrap();
    assert_eq!(
        next(&mut stream).await,
        format!("-a@{}", server.store().revision())
    );
}

#[tokio::test]
async fn a_watch_from_a_revision_tells_all_since() {
    let server = testing::server().await;
    let a = create(&server, "pods", "default", pod("a")).await;
    let start = revision(&a).to_string();
    let labelled = json!({"metadata": {"labels": {"app": "x"}}});
    patch(&server, &object("pods", "default", "a"), Merge, labelled)
        .await
        .unwrap();
    create(
        &server,
        "configmaps",
        "default",
        json!({"metadata": {"name": "other"}}),
    )
    .await;
    create(&server, "pods", "default", pod("b")).await;
    let mut stream = watch(&server, from(&start)).await.unwrap();
    assert!(next(&mut stream).await.starts_with("~a@"));
    assert!(next(&mut stream).await.starts_with("+b@"));
}

#[tokio::test]
async fn objects_enter_and_leave_a_selection() {
    let server = testing::server().await;
    let start = server.store().revision().to_string();
    let options = WatchOptions {
        label_selector: Some("app=x".into()),
        ..from(&start)
    };
    let mut stream = watch(&server, options).await.unwrap();
    create(&server, "pods", "default", pod("a")).await;
    let a = object("pods", "default", "a");
    let label = |value: &str| json!({"metadata": {"labels": {"app": value}}});
    let mut revisions = Vec::new();
    for value in ["x", "y"] {
        revisions.push(revision(
            &patch(&server, &a, Merge, label(value)).await.unwrap(),
        ));
    }
    assert_eq!(next(&mut stream).await, format!("+a@{}", revisions[0]));
    let left = stream.next().await.unwrap().unwrap();
    let WatchEvent::Deleted(object) = left else {
        panic!("{left:?}")
    };
    assert_eq!(object.revision, revisions[1]);
    assert_eq!(
        object.value()["metadata"]["labels"]["app"],
        "x",
        "the last state that was selected"
    );
}

#[tokio::test]
async fn a_watch_of_a_name_hears_of_that_alone() {
    let server = testing::server().await;
    let start = server.store().revision().to_string();
    let mut stream = server
        .watch(&admin(), &object("pods", "default", "b"), &from(&start))
        .await
        .unwrap();
    create(&server, "pods", "default", pod("a")).await;
    let b = create(&server, "pods", "default", pod("b")).await;
    assert_eq!(next(&mut stream).await, format!("+b@{}", revision(&b)));
}

#[tokio::test]
async fn initial_events_end_with_their_bookmark() {
    let server = testing::server().await;
    create(&server, "pods", "default", pod("a")).await;
    let options = WatchOptions {
        send_initial_events: Some(true),
        resource_version_match: Some("NotOlderThan".into()),
        bookmarks: true,
        ..WatchOptions::default()
    };
    let mut stream = watch(&server, options).await.unwrap();
    assert!(next(&mut stream).await.starts_with("+a@"));
    assert_eq!(next(&mut stream).await, "=initial");
    let alone = WatchOptions {
        send_initial_events: Some(true),
        ..WatchOptions::default()
    };
    let status = watch(&server, alone).await.err().unwrap();
    assert!(
        status
            .message
            .contains("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
    );
}

#[tokio::test(start_paused = true)]
async fn a_quiet_watch_gets_bookmarks_and_ends_in_time() {
    let server = testing::server().await;
    create(&server, "pods", "default", pod("a")).await;
    let start = server.store().revision().to_string();
    let timeout = Some(Duration::from_secs(70));
    let options = WatchOptions {
        bookmarks: true,
        timeout,
        ..from(&start)
    };
    let mut stream = watch(&server, options).await.unwrap();
    for name in ["x", "y", "z"] {
        create(
            &server,
            "configmaps",
            "default",
            json!({"metadata": {"name": name}}),
        )
        .await;
        tokio::time::advance(Duration::from_secs(6)).await;
        assert!(futures::poll!(stream.next()).is_pending());
    }
    let moved = next(&mut stream).await;
    let marked: u64 = moved
        .strip_prefix('=')
        .expect("a bookmark")
        .parse()
        .unwrap();
    assert!(
        marked > start.parse().unwrap(),
        "other kinds' events move the cursor"
    );
    assert!(next(&mut stream).await.starts_with('='), "one at the end");
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn the_past_that_is_gone_is_410() {
    let server = testing::server().await;
    create(&server, "pods", "default", pod("a")).await;
    let mut late = watch(&server, from("1")).await.unwrap();
    create(&server, "pods", "default", pod("b")).await;
    let below = server.store().revision() + 1;
    let index = server.store().snapshot().index() + 1;
    server.store().apply(index, 1, &Command::Compact { below });
    let status = watch(&server, from("1")).await.err().unwrap();
    assert_eq!(status.reason, Reason::Expired);
    assert!(
        status.message.starts_with("too old resource version: 1 ("),
        "{}",
        status.message
    );
    let status = late.next().await.unwrap().unwrap_err();
    assert_eq!(status.reason, Reason::Expired);
    assert!(late.next().await.is_none());
    let status = watch(&server, from("9999")).await.err().unwrap();
    assert_eq!(status.reason, Reason::Timeout);
}
