//! kube-rs against a live cluster: its client, its watcher in both ways to start, and a controller with a finalizer.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kontiki_tests::{LocalCluster, eventually};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::controller::Action;
use kube::runtime::finalizer::{Event as Finalize, finalizer};
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{Controller, WatchStreamExt as _};
use kube::{Api, Client, Config, Resource as _, ResourceExt as _};
use nix::sys::signal::Signal;
use serde_json::json;

const NAMESPACE: &str = "default";
/// How often a failed step of the controller is tried again.
const AGAIN: Duration = Duration::from_millis(100);

async fn client(cluster: &LocalCluster) -> Client {
    let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    Client::try_from(config.unwrap()).unwrap()
}

fn config_map(name: &str, value: &str) -> ConfigMap {
    ConfigMap {
        metadata: kube::api::ObjectMeta {
            name: Some(name.to_owned()),
            ..Default::default()
        },
        data: Some(BTreeMap::from([("key".to_owned(), value.to_owned())])),
        ..ConfigMap::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_reads_and_writes() {
    let cluster = LocalCluster::up(1, 0);
    let client = client(&cluster).await;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    let made = maps
        .create(&PostParams::default(), &config_map("a", "1"))
        .await;
    let mut made = made.unwrap();
    let again = maps
        .create(&PostParams::default(), &config_map("a", "1"))
        .await;
    let kube::Error::Api(status) = again.unwrap_err() else {
        panic!("no Status");
    };
    assert_eq!((status.code, &*status.reason), (409, "AlreadyExists"));
    made.data = Some(BTreeMap::from([("key".to_owned(), "2".to_owned())]));
    let replaced = maps
        .replace("a", &PostParams::default(), &made)
        .await
        .unwrap();
    assert!(replaced.resource_version() > made.resource_version());
    let stale = maps
        .replace("a", &PostParams::default(), &made)
        .await
        .unwrap_err();
    assert!(matches!(stale, kube::Error::Api(status) if status.is_conflict()));
    assert!(maps.get_opt("absent").await.unwrap().is_none());
    let names = maps.list_metadata(&ListParams::default()).await.unwrap();
    assert!(names.iter().any(|map| map.name_any() == "a"));

    let deployments: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    let applied = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "web:1"}]},
            },
        },
    });
    let one = PatchParams::apply("one");
    let made = deployments
        .patch("web", &one, &Patch::Apply(&applied))
        .await
        .unwrap();
    assert_eq!(made.spec.unwrap().replicas, Some(2));
    let mut other = applied.clone();
    other["spec"]["replicas"] = json!(3);
    let two = PatchParams::apply("two");
    let taken = deployments.patch("web", &two, &Patch::Apply(&other)).await;
    assert!(matches!(taken.unwrap_err(), kube::Error::Api(status) if status.is_conflict()));
    let scale = deployments.get_scale("web").await.unwrap();
    assert_eq!(scale.spec.unwrap().replicas, Some(2));
    let merge = Patch::Merge(json!({"spec": {"replicas": 4}}));
    let scale = deployments
        .patch_scale("web", &PatchParams::default(), &merge)
        .await
        .unwrap();
    assert_eq!(scale.spec.unwrap().replicas, Some(4));

    let namespaces: Api<Namespace> = Api::all(client);
    let gone = namespaces
        .delete("default", &DeleteParams::default())
        .await
        .unwrap_err();
    assert!(matches!(gone, kube::Error::Api(status) if status.is_forbidden()));
}

/// The next event that is about an object or the end of the first list, by name.
async fn next<S>(events: &mut S) -> String
where
    S: Stream<Item = Result<Event<ConfigMap>, watcher::Error>> + Unpin,
{
    loop {
        // A replica that dies is told as an error; the watcher goes on by itself.
        match events.next().await.expect("a watcher does not end") {
            Ok(Event::Init) | Err(_) => {}
            Ok(Event::InitDone) => return "listed".to_owned(),
            Ok(Event::InitApply(map)) => return format!("has {}", map.name_any()),
            Ok(Event::Apply(map)) => return format!("set {}", map.name_any()),
            Ok(Event::Delete(map)) => return format!("gone {}", map.name_any()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_list_follow_and_outlive_a_leader() {
    let cluster = LocalCluster::up(3, 0);
    let client = client(&cluster).await;
    let maps: Api<ConfigMap> = Api::namespaced(client, NAMESPACE);
    let labelled = |name: &str| {
        let mut map = config_map(name, "1");
        map.labels_mut().insert("watched".into(), "yes".into());
        map
    };
    maps.create(&PostParams::default(), &labelled("first"))
        .await
        .unwrap();
    let config = watcher::Config::default().labels("watched=yes");
    let listing = watcher(maps.clone(), config.clone()).default_backoff();
    let streaming = watcher(maps.clone(), config.streaming_lists()).default_backoff();
    let (mut listing, mut streaming) = (pin!(listing), pin!(streaming));
    for wanted in ["has first", "listed"] {
        assert_eq!(next(&mut listing).await, wanted);
        assert_eq!(next(&mut streaming).await, wanted);
    }
    let leader = cluster.leader().await;
    cluster
        .signal(&format!("server-{leader}"), Signal::SIGKILL)
        .await;
    eventually("a write after the leader's death", || async {
        let made = maps
            .create(&PostParams::default(), &labelled("second"))
            .await;
        match made {
            Ok(_) => Some(()),
            Err(kube::Error::Api(status)) if status.is_already_exists() => Some(()),
            Err(_) => None,
        }
    })
    .await;
    maps.delete("first", &DeleteParams::default())
        .await
        .unwrap();
    for wanted in ["set second", "gone first"] {
        assert_eq!(next(&mut listing).await, wanted);
        assert_eq!(next(&mut streaming).await, wanted);
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failed(String);

fn failed(error: impl Debug) -> Failed {
    Failed(format!("{error:?}"))
}

/// Gives each ConfigMap labelled `copy` a Secret that it owns, and notes in another that it said goodbye.
async fn reconcile(map: Arc<ConfigMap>, client: Arc<Client>) -> Result<Action, Failed> {
    let maps: Api<ConfigMap> = Api::namespaced((*client).clone(), NAMESPACE);
    let secrets: Api<Secret> = Api::namespaced((*client).clone(), NAMESPACE);
    let apply = PatchParams::apply("copier").force();
    let step = |event: Finalize<ConfigMap>| async move {
        match event {
            Finalize::Apply(map) => {
                let owner = map.controller_owner_ref(&());
                let secret = json!({
                    "apiVersion": "v1", "kind": "Secret",
                    "metadata": {"name": map.name_any(), "ownerReferences": [owner]},
                    "stringData": map.data,
                });
                secrets
                    .patch(&map.name_any(), &apply, &Patch::Apply(secret))
                    .await
                    .map(|_| Action::await_change())
            }
            Finalize::Cleanup(_) => {
                let note =
                    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "goodbye"}});
                secrets
                    .patch("goodbye", &apply, &Patch::Apply(note))
                    .await
                    .map(|_| Action::await_change())
            }
        }
    };
    finalizer(&maps, "kontiki.test/copier", map, step)
        .await
        .map_err(failed)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_converges_repairs_and_cleans_up() {
    let cluster = LocalCluster::up(1, 0);
    let client = client(&cluster).await;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
    let labelled = watcher::Config::default().labels("copy=yes");
    let controller = Controller::new(maps.clone(), labelled)
        .owns(secrets.clone(), watcher::Config::default())
        .run(
            reconcile,
            |_, error, _| {
                eprintln!("reconcile: {error}");
                Action::requeue(AGAIN)
            },
            Arc::new(client),
        )
        .for_each(|_| async {});
    tokio::select! {
        () = controller => panic!("a controller does not end"),
        () = converges(&maps, &secrets) => {}
    }
}

async fn converges(maps: &Api<ConfigMap>, secrets: &Api<Secret>) {
    let mut map = config_map("settings", "1");
    map.labels_mut().insert("copy".into(), "yes".into());
    maps.create(&PostParams::default(), &map).await.unwrap();
    let holds = |value: &'static str| {
        let secrets = secrets.clone();
        move || {
            let secrets = secrets.clone();
            async move {
                let secret = secrets.get_opt("settings").await.unwrap()?;
                let held = secret.data.as_ref()?.get("key")?.0.clone();
                (held == value.as_bytes()).then(|| secret.uid().unwrap())
            }
        }
    };
    let first = eventually("the copy", holds("1")).await;
    let patch = Patch::Merge(json!({"data": {"key": "2"}}));
    maps.patch("settings", &PatchParams::default(), &patch)
        .await
        .unwrap();
    assert_eq!(eventually("the new value", holds("2")).await, first);
    secrets
        .delete("settings", &DeleteParams::default())
        .await
        .unwrap();
    let second = eventually("the copy again", holds("2")).await;
    assert_ne!(second, first);

    maps.delete("settings", &DeleteParams::default())
        .await
        .unwrap();
    eventually("the owner and its copy are gone", || async {
        let gone = maps.get_opt("settings").await.unwrap().is_none()
            && secrets.get_opt("settings").await.unwrap().is_none();
        gone.then_some(())
    })
    .await;
    let note = secrets.get_opt("goodbye").await.unwrap();
    assert!(note.is_some(), "the finalizer ran before the end");
}
