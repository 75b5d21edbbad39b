//! List: selectors, pages at one revision, resource versions.

use kontiki_apiserver::testing::{self, admin, collection, create, object, pod};
use kontiki_apiserver::{ApiServer, ListOptions, Page};
use kontiki_base::status::{Reason, Status};
use serde_json::json;

use super::{delete, patch};
use kontiki_apiserver::PatchType::Merge;

async fn list(server: &ApiServer, resource: &str, options: ListOptions) -> Result<Page, Status> {
    server
        .list(&admin(), &collection(resource, "default"), &options)
        .await
}

fn names(page: &Page) -> Vec<&str> {
    page.items.iter().map(|object| &*object.key.name).collect()
}

async fn five_maps(server: &ApiServer) {
    for name in ["a", "b", "c", "d", "e"] {
        create(
            server,
            "configmaps",
            "default",
            json!({"metadata": {"name": name}}),
        )
        .await;
    }
}

#[tokio::test]
async fn pages_show_one_revision_whatever_is_written_between() {
    let server = testing::server().await;
    five_maps(&server).await;
    let options = |continue_: Option<String>| ListOptions {
        limit: 2,
        continue_,
        ..ListOptions::default()
    };
    let first = list(&server, "configmaps", options(None)).await.unwrap();
    assert_eq!((names(&first), first.remaining), (vec!["a", "b"], Some(3)));
    delete(&server, &object("configmaps", "default", "d"))
        .await
        .unwrap();
    create(
        &server,
        "configmaps",
        "default",
        json!({"metadata": {"name": "bb"}}),
    )
    .await;
    let e = object("configmaps", "default", "e");
    patch(&server, &e, Merge, json!({"data": {"new": "x"}}))
        .await
        .unwrap();
    let second = list(
        &server,
        "configmaps",
        options(Some(first.continue_.clone())),
    )
    .await
    .unwrap();
    assert_eq!(
        (names(&second), second.remaining),
        (vec!["c", "d"], Some(1))
    );
    assert_eq!(second.revision, first.revision);
    let last = list(&server, "configmaps", options(Some(second.continue_)))
        .await
        .unwrap();
    assert_eq!(
        (names(&last), last.continue_.as_str(), last.remaining),
        (vec!["e"], "", None)
    );
    assert!(
        last.items[0].value().get("data").is_none(),
        "as it was at the first page"
    );
}

#[tokio::test]
async fn a_token_of_another_list_is_refused() {
    let server = testing::server().await;
    five_maps(&server).await;
    let page = list(
        &server,
        "configmaps",
        ListOptions {
            limit: 1,
            ..ListOptions::default()
        },
    )
    .await;
    let continue_ = Some(page.unwrap().continue_);
    for (resource, token) in [("pods", continue_), ("configmaps", Some("x".into()))] {
        let options = ListOptions {
            continue_: token,
            ..ListOptions::default()
        };
        let status = list(&server, resource, options).await.unwrap_err();
        assert_eq!(status.reason, Reason::BadRequest);
    }
}

#[tokio::test]
async fn an_exact_revision_is_put_together_from_the_past() {
    let server = testing::server().await;
    five_maps(&server).await;
    let then = server.store().revision();
    delete(&server, &object("configmaps", "default", "a"))
        .await
        .unwrap();
    create(
        &server,
        "configmaps",
        "default",
        json!({"metadata": {"name": "z"}}),
    )
    .await;
    let at = |matching: &str, revision: u64| ListOptions {
        resource_version: Some(revision.to_string()),
        resource_version_match: Some(matching.into()),
        ..ListOptions::default()
    };
    let exact = list(&server, "configmaps", at("Exact", then))
        .await
        .unwrap();
    assert_eq!(
        (names(&exact), exact.revision),
        (vec!["a", "b", "c", "d", "e"], then)
    );
    let newer = list(&server, "configmaps", at("NotOlderThan", then))
        .await
        .unwrap();
    assert_eq!(names(&newer), ["b", "c", "d", "e", "z"]);
    let status = list(&server, "configmaps", at("NotOlderThan", 1_000))
        .await
        .unwrap_err();
    assert_eq!(status.reason, Reason::Timeout);
    assert!(
        status
            .message
            .starts_with("Timeout: Too large resource version: 1000, current: ")
    );
    assert_eq!(
        status.details.unwrap().causes[0].reason,
        "ResourceVersionTooLarge"
    );
}

#[tokio::test]
async fn selectors_select_by_labels_and_fields() {
    let server = testing::server().await;
    for (name, node) in [("a", "n1"), ("b", "n2"), ("c", "n1")] {
        let mut pod = pod(name);
        pod["spec"]["nodeName"] = json!(node);
        create(&server, "pods", "default", pod).await;
    }
    let cases = [
        (Some("app in (a,b)"), None, vec!["a", "b"]),
        (None, Some("spec.nodeName=n1"), vec!["a", "c"]),
        (
            Some("app!=a"),
            Some("spec.nodeName=n1,status.phase=Pending"),
            vec!["c"],
        ),
        (None, Some("metadata.name=b"), vec!["b"]),
        (None, Some("metadata.name!=b"), vec!["a", "c"]),
    ];
    for (labels, fields, expected) in cases {
        let options = ListOptions {
            label_selector: labels.map(str::to_owned),
            field_selector: fields.map(str::to_owned),
            ..ListOptions::default()
        };
        assert_eq!(
            names(&list(&server, "pods", options).await.unwrap()),
            expected,
            "{labels:?} {fields:?}"
        );
    }
}

#[tokio::test]
async fn bad_options_are_refused_in_upstreams_words() {
    let server = testing::server().await;
    let none = ListOptions::default;
    let cases = [
        (
            ListOptions {
                field_selector: Some("spec.x=1".into()),
                ..none()
            },
            "field label not supported: spec.x",
        ),
        (
            ListOptions {
                resource_version: Some("x".into()),
                ..none()
            },
            "invalid resource version",
        ),
        (
            ListOptions {
                resource_version_match: Some("Exact".into()),
                ..none()
            },
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
        ),
        (
            ListOptions {
                label_selector: Some("a in".into()),
                ..none()
            },
            "unable to parse requirement",
        ),
    ];
    for (options, message) in cases {
        let status = list(&server, "pods", options).await.unwrap_err();
        assert!(status.message.contains(message), "{}", status.message);
    }
}
