//! ServiceAccount (upstream `plugin/pkg/admission/serviceaccount`): a pod runs as an account that exists, finds a token
//! of it in every container, and uses the secrets that the account lets it use.

mod secrets;

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kontiki_api::meta::Meta;
use kontiki_base::status::Status;
use kontiki_state::Interest;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{Effects, Operation, Plugin, Request};
use crate::authz::node::{MIRROR, Named};
use crate::write::generated_name;

/// The account of pods that name none. A controller makes one in every namespace.
const DEFAULT: &str = "default";
/// How long a pod of a new namespace waits for that account.
const WAIT: Duration = Duration::from_secs(2);
/// Where containers look for their token.
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX: &str = "kube-api-access-";
/// Life of the token. The issuer knows by this very number that it is a pod's.
const TOKEN_S: i64 = 3607;

pub(super) struct ServiceAccount;

impl Plugin for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    fn handles(&self, request: &Request<'_>) -> bool {
        request.is_about("", "pods")
            && match subresource(request) {
                "" => request.operation == Operation::Create,
                "ephemeralcontainers" => request.operation == Operation::Update,
                _ => false,
            }
    }

    fn mutate<'a>(
        &'a self,
        request: &'a Request<'a>,
        new: &'a mut Value,
        _: &'a mut Effects,
    ) -> BoxFuture<'a, Result<(), Status>> {
        async move {
            if request.operation == Operation::Create && !is_mirror(new) {
                complete(request, new).await?;
            }
            check(request, new).await
        }
        .boxed()
    }

    fn validate<'a>(
        &'a self,
        request: &'a Request<'a>,
        new: Option<&'a Value>,
        _: &'a mut Effects,
    ) -> BoxFuture<'a, Result<(), Status>> {
        async move {
            match new {
                Some(pod) => check(request, pod).await,
                None => Ok(()),
            }
        }
        .boxed()
    }
}

fn subresource(request: &Request<'_>) -> &'static str {
    let subresource = request.target.subresource;
    subresource.map_or("", kontiki_api::Subresource::name)
}

fn is_mirror(pod: &Value) -> bool {
    Meta::of(pod).annotation(MIRROR).is_some()
}

fn account_name(pod: &Value) -> &str {
    pod["spec"]["serviceAccountName"]
        .as_str()
        .unwrap_or_default()
}

/// Gives a pod its account, the account's token and the account's pull secrets.
async fn complete(request: &Request<'_>, pod: &mut Value) -> Result<(), Status> {
    if account_name(pod).is_empty() {
        pod["spec"]["serviceAccountName"] = DEFAULT.into();
        pod["spec"]["serviceAccount"] = DEFAULT.into();
    }
    let account = account(request, pod).await?;
    if automounts(&account, pod) {
        mount_token(request, pod);
    }
    let pull_secrets = &account["imagePullSecrets"];
    if items(&pod["spec"]["imagePullSecrets"]).next().is_none()
        && items(pull_secrets).next().is_some()
    {
        let names = items(pull_secrets).map(|secret| json!({"name": secret["name"]}));
        pod["spec"]["imagePullSecrets"] = names.collect();
    }
    Ok(())
}

async fn check(request: &Request<'_>, pod: &Value) -> Result<(), Status> {
    if request.operation == Operation::Create && is_mirror(pod) {
        return match mirror_pod_misuse(pod) {
            Some(why) => Err(request.forbidden(pod, why)),
            None => Ok(()),
        };
    }
    if account_name(pod).is_empty() {
        let (namespace, name) = (&request.target.namespace, Meta::of(pod).name());
        let why = format!("no service account specified for pod {namespace}/{name}");
        return Err(request.forbidden(pod, &why));
    }
    let account = account(request, pod).await?;
    let limited = match request.operation {
        Operation::Create => secrets::of_pod(&account, pod),
        _ => secrets::of_ephemeral_containers(&account, pod),
    };
    limited.map_err(|why| request.forbidden(pod, &why))
}

/// A node makes the image of a pod that it runs by itself: that pod can use nothing that the API holds.
fn mirror_pod_misuse(pod: &Value) -> Option<&'static str> {
    let mut sources =
        items(&pod["spec"]["volumes"]).flat_map(|volume| items(&volume["projected"]["sources"]));
    if !account_name(pod).is_empty() {
        Some("a mirror pod may not reference service accounts")
    } else if Named::find(pod).names("secrets").next().is_some() {
        Some("a mirror pod may not reference secrets")
    } else if sources.any(|source| source["serviceAccountToken"].is_object()) {
        Some("a mirror pod may not use ServiceAccountToken volume projections")
    } else {
        None
    }
}

/// The account of a pod, after a barrier if need be; the default one is waited for.
async fn account(request: &Request<'_>, pod: &Value) -> Result<Arc<Value>, Status> {
    let (namespace, name) = (request.target.namespace.as_str(), account_name(pod));
    if let Some(account) = stored(request, name) {
        return Ok(account);
    }
    request.server.read_barrier(request.context).await?;
    let named = request.named(pod);
    request.server.check_namespace_here(&named)?;
    let found = match stored(request, name) {
        None if name == DEFAULT => wait_for_default(request).await,
        found => found,
    };
    found.ok_or_else(|| {
        let why = format!(
            "error looking up service account {namespace}/{name}: serviceaccount \"{name}\" not found"
        );
        request.forbidden(pod, &why)
    })
}

fn stored(request: &Request<'_>, name: &str) -> Option<Arc<Value>> {
    let snapshot = request.server.store().snapshot();
    let account = snapshot.find("serviceaccounts", &request.target.namespace, name)?;
    account.typed::<Value>().ok()
}

async fn wait_for_default(request: &Request<'_>) -> Option<Arc<Value>> {
    let changed = Arc::new(Notify::new());
    let interest = Interest {
        namespace: Some(Arc::from(request.target.namespace.as_str())),
        name: Some(Arc::from(DEFAULT)),
        ..Interest::resource("serviceaccounts")
    };
    let waker = Arc::clone(&changed);
    let store = request.server.store();
    let _subscription = store.subscribe(&interest, Arc::new(move || waker.notify_one()));
    let there = async {
        loop {
            if let Some(account) = stored(request, DEFAULT) {
                return account;
            }
            changed.notified().await;
        }
    };
    tokio::time::timeout(WAIT, there).await.ok()
}

/// The pod's word goes before its account's.
fn automounts(account: &Value, pod: &Value) -> bool {
    let of_pod = pod["spec"]["automountServiceAccountToken"].as_bool();
    let of_account = account["automountServiceAccountToken"].as_bool();
    of_pod.or(of_account).unwrap_or(true)
}

/// Mounts the token in every container that has nothing at its place.
fn mount_token(request: &Request<'_>, pod: &mut Value) {
    let existing = token_volume_of(pod).map(str::to_owned);
    let is_new = existing.is_none();
    let volume = existing
        .unwrap_or_else(|| generated_name(VOLUME_PREFIX, &*request.server.options().random));
    let mut is_mounted = false;
    for list in ["initContainers", "containers"] {
        let containers = pod["spec"].get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            is_mounted |= add_mount(container, &volume);
        }
    }
    if is_new && is_mounted {
        push(&mut pod["spec"]["volumes"], token_volume(&volume));
    }
}

/// A volume that the pod was sent with, such as one that is made from another's manifest.
fn token_volume_of(pod: &Value) -> Option<&str> {
    let volumes = items(&pod["spec"]["volumes"]);
    let projected = volumes.filter(|volume| volume["projected"].is_object());
    let mut names = projected.filter_map(|volume| volume["name"].as_str());
    names.find(|name| name.starts_with(VOLUME_PREFIX))
}

/// False when something is mounted there already.
fn add_mount(container: &mut Value, volume: &str) -> bool {
    if items(&container["volumeMounts"]).any(|mount| mount["mountPath"] == MOUNT_PATH) {
        return false;
    }
    let mount = json!({"name": volume, "readOnly": true, "mountPath": MOUNT_PATH});
    push(&mut container["volumeMounts"], mount);
    true
}

fn push(list: &mut Value, item: Value) {
    match list.as_array_mut() {
        Some(items) => items.push(item),
        None => *list = json!([item]),
    }
}

fn token_volume(name: &str) -> Value {
    let token = json!({"expirationSeconds": TOKEN_S, "path": "token"});
    let authority = json!({
        "name": "kube-root-ca.crt",
        "items": [{"key": "ca.crt", "path": "ca.crt"}],
    });
    let field = json!({"apiVersion": "v1", "fieldPath": "metadata.namespace"});
    let namespace = json!({"items": [{"path": "namespace", "fieldRef": field}]});
    let sources = json!([
        {"serviceAccountToken": token},
        {"configMap": authority},
        {"downwardAPI": namespace},
    ]);
    json!({"name": name, "projected": {"defaultMode": 0o644, "sources": sources}})
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}
