//! The claims, volumes and classes of storage that the scheduler knows of, and what a pod's claims ask of its node.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kontiki_api::volumes::{claims_of, class_of, volume_of};

use crate::pod_info::PodInfo;

/// What volumes that nobody makes by themselves name as their provisioner.
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

/// All that is known.
#[derive(Debug, Default)]
pub struct Volumes {
    claims: BTreeMap<(String, String), Arc<PersistentVolumeClaim>>,
    volumes: BTreeMap<String, Arc<PersistentVolume>>,
    classes: BTreeMap<String, Arc<StorageClass>>,
}

/// What one claim of a pod asks of a node.
#[derive(Debug, Clone)]
pub enum Need {
    /// There is no such claim.
    Missing(String),
    /// It is bound without regard to its consumers, and that has not happened yet.
    Unbound,
    /// It waits for the pod's node; none where a new volume may be made.
    Waiting(Option<Arc<PersistentVolumeClaim>>),
    /// It is bound; none where its volume is gone.
    Bound(Option<Arc<PersistentVolume>>),
}

impl Volumes {
    /// A claim appeared, changed or went.
    pub fn set_claim(&mut self, key: (&str, &str), claim: Option<Arc<PersistentVolumeClaim>>) {
        let key = (key.0.to_owned(), key.1.to_owned());
        match claim {
            Some(claim) => drop(self.claims.insert(key, claim)),
            None => drop(self.claims.remove(&key)),
        }
    }

    /// A volume appeared, changed or went.
    pub fn set_volume(&mut self, name: &str, volume: Option<Arc<PersistentVolume>>) {
        match volume {
            Some(volume) => drop(self.volumes.insert(name.to_owned(), volume)),
            None => drop(self.volumes.remove(name)),
        }
    }

    /// A class appeared, changed or went.
    pub fn set_class(&mut self, name: &str, class: Option<Arc<StorageClass>>) {
        match class {
            Some(class) => drop(self.classes.insert(name.to_owned(), class)),
            None => drop(self.classes.remove(name)),
        }
    }

    /// All volumes.
    pub fn all(&self) -> impl Iterator<Item = &PersistentVolume> {
        self.volumes.values().map(|volume| &**volume)
    }

    /// A claim.
    pub fn claim(&self, namespace: &str, name: &str) -> Option<&Arc<PersistentVolumeClaim>> {
        self.claims.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// What a pod's claims ask for.
    pub fn needs(&self, pod: &PodInfo) -> Vec<Need> {
        let claims = claims_of(&pod.pod).into_iter();
        claims
            .map(|name| match self.claim(pod.namespace(), &name) {
                Some(claim) => self.need(claim),
                None => Need::Missing(name),
            })
            .collect()
    }

    fn need(&self, claim: &Arc<PersistentVolumeClaim>) -> Need {
        let volume = volume_of(claim);
        let phase = claim.status.as_ref().and_then(|it| it.phase.as_deref());
        if !volume.is_empty() && phase != Some("Pending") {
            return Need::Bound(self.volumes.get(volume).cloned());
        }
        let class = self.classes.get(class_of(claim));
        let Some(class) = class.filter(|class| {
            volume.is_empty()
                && class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer")
        }) else {
            return Need::Unbound;
        };
        let must_be_there = class.provisioner == NO_PROVISIONER;
        Need::Waiting(must_be_there.then(|| claim.clone()))
    }
}
