//! What a controller sees: one revision of the whole state, the time, and what is known of nodes' heartbeats.

use std::ops::Deref;
use std::sync::Arc;

use k8s_openapi::Resource;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use k8s_openapi::jiff::Timestamp;
use kontiki_api::Kinds;
use kontiki_api::custom::DEFINITIONS;
use kontiki_state::{Object, Snapshot};
use serde::de::DeserializeOwned;

use crate::{CertificateSigner, Error};

/// Facts of the cluster that are not objects.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Pod addresses of all nodes, such as `10.244.0.0/16`.
    pub cluster_cidr: String,
    /// Prefix length of one node's share.
    pub node_mask: u8,
    /// Address of `default/kubernetes`.
    pub kubernetes_service_ip: String,
    /// Where the replicas serve the API: address and port, sorted.
    pub api_endpoints: Vec<(String, u16)>,
    /// The API's CA, for `kube-root-ca.crt`; empty to publish none.
    pub root_ca_pem: String,
    /// The authority of the certificate that aggregated API servers are shown; empty to publish none.
    pub front_proxy_ca_pem: String,
    /// The API's CA with its key; none to sign nothing.
    pub signer: Option<Arc<dyn CertificateSigner>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cluster_cidr: "10.244.0.0/16".into(),
            node_mask: 24,
            kubernetes_service_ip: "10.96.0.1".into(),
            api_endpoints: Vec::new(),
            root_ca_pem: String::new(),
            front_proxy_ca_pem: String::new(),
            signer: None,
        }
    }
}

/// One consistent look at everything.
pub struct View<'a> {
    /// All objects at one revision.
    pub snapshot: &'a Snapshot,
    /// Now.
    pub now_ms: u64,
    /// When each node was last heard of, in Unix milliseconds.
    pub heartbeats: &'a dyn Fn(&str) -> Option<u64>,
    /// When this replica became leader: nodes get a full grace period from then on.
    pub leader_since_ms: u64,
    /// Facts of the cluster.
    pub settings: &'a Settings,
    /// The kinds that the snapshot defines.
    pub kinds: &'a Kinds,
}

/// The kinds that a snapshot defines; `before` knows most of them.
pub fn defined(before: &Kinds, snapshot: &Snapshot) -> Kinds {
    let objects: Vec<Arc<Object>> = snapshot.list(DEFINITIONS, None, None).collect();
    before.with(objects.iter().map(|object| {
        let read = || Some(object.value());
        (&*object.key.name, object.revision, read)
    }))
}

/// An object and its typed form.
#[derive(Debug)]
pub struct Found<T> {
    /// As stored.
    pub object: Arc<Object>,
    typed: Arc<T>,
}

impl<T> Clone for Found<T> {
    fn clone(&self) -> Self {
        Self {
            object: self.object.clone(),
            typed: self.typed.clone(),
        }
    }
}

impl<T> Deref for Found<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.typed
    }
}

impl<T> Found<T> {
    /// `metadata.name`.
    pub fn name(&self) -> &str {
        &self.object.key.name
    }

    /// `metadata.namespace`.
    pub fn namespace(&self) -> &str {
        &self.object.key.namespace
    }

    /// `metadata.uid`.
    pub fn uid(&self) -> &str {
        &self.object.header.uid
    }
}

/// The resource id of a type, as keys spell it.
pub fn resource_of<T: Resource>() -> String {
    match T::GROUP {
        "" => T::URL_PATH_SEGMENT.to_owned(),
        group => format!("{}.{group}", T::URL_PATH_SEGMENT),
    }
}

/// The typed form of an object.
pub fn typed<T: DeserializeOwned + Send + Sync + 'static>(
    object: Arc<Object>,
) -> Result<Found<T>, Error> {
    let typed = object
        .typed::<T>()
        .map_err(|error| Error::Undecodable(error.to_string()))?;
    Ok(Found { object, typed })
}

impl View<'_> {
    /// One object.
    pub fn get<T>(&self, namespace: &str, name: &str) -> Result<Option<Found<T>>, Error>
    where
        T: Resource + DeserializeOwned + Send + Sync + 'static,
    {
        self.snapshot
            .find(&resource_of::<T>(), namespace, name)
            .map(typed)
            .transpose()
    }

    /// All objects of a namespace, or of all.
    pub fn list<T>(&self, namespace: Option<&str>) -> Result<Vec<Found<T>>, Error>
    where
        T: Resource + DeserializeOwned + Send + Sync + 'static,
    {
        self.snapshot
            .list(&resource_of::<T>(), namespace, None)
            .map(typed)
            .collect()
    }

    /// Objects of a type that `uid` controls.
    pub fn controlled<T>(&self, uid: &str) -> Result<Vec<Found<T>>, Error>
    where
        T: Resource + DeserializeOwned + Send + Sync + 'static,
        T: k8s_openapi::Metadata<Ty = ObjectMeta>,
    {
        let resource = resource_of::<T>();
        let mut found = Vec::new();
        for object in self.snapshot.by_owner(uid) {
            if *object.key.resource == *resource {
                let typed = typed::<T>(object)?;
                let metadata = k8s_openapi::Metadata::metadata(&*typed);
                if controller_of(metadata).is_some_and(|owner| owner.uid == uid) {
                    found.push(typed);
                }
            }
        }
        Ok(found)
    }

    /// Now, as objects write it.
    pub fn now(&self) -> Time {
        time_of(self.now_ms)
    }
}

/// The owner reference that says who controls an object.
pub fn controller_of(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    metadata
        .owner_references
        .iter()
        .flatten()
        .find(|owner| owner.controller == Some(true))
}

/// A moment as objects write it: whole seconds.
pub fn time_of(unix_ms: u64) -> Time {
    let seconds = i64::try_from(unix_ms / 1000).unwrap_or(0);
    Time(Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// Unix milliseconds of a moment in an object.
pub fn ms_of(time: &Time) -> u64 {
    u64::try_from(time.0.as_millisecond()).unwrap_or(0)
}
