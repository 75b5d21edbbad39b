//! The ReplicaSets of one Deployment: which is new, their revisions, annotations and sizes.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kontiki_state::Object;
use serde_json::{Value, json};

use super::{REVISION, Work};
use crate::hash::template_hash;
use crate::plan::{Plan, to_value};
use crate::pods::controller_ref;
use crate::view::{Found, ms_of};

const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAX: &str = "deployment.kubernetes.io/max-replicas";
const HASH_LABEL: &str = "pod-template-hash";
/// Longest list of past revisions, in bytes.
const HISTORY_BYTES: usize = 2000;

/// A working copy of a ReplicaSet; `finish` writes what changed.
pub struct Set {
    stored: Option<Arc<Object>>,
    /// The copy.
    pub set: ReplicaSet,
    deleted: bool,
}

impl Set {
    /// A copy of what is stored.
    pub fn stored(found: Found<ReplicaSet>) -> Self {
        Self {
            stored: Some(found.object.clone()),
            set: (*found).clone(),
            deleted: false,
        }
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        self.set.metadata.name.as_deref().unwrap_or_default()
    }

    /// `metadata.uid`; empty for one that is yet to be created.
    pub fn uid(&self) -> &str {
        self.set.metadata.uid.as_deref().unwrap_or_default()
    }

    /// `spec.replicas`.
    pub fn replicas(&self) -> i32 {
        self.set
            .spec
            .as_ref()
            .and_then(|spec| spec.replicas)
            .unwrap_or(0)
    }

    /// `status.availableReplicas`.
    pub fn available(&self) -> i32 {
        self.set
            .status
            .as_ref()
            .and_then(|status| status.available_replicas)
            .unwrap_or(0)
    }

    /// `status.replicas`.
    pub fn actual(&self) -> i32 {
        self.set.status.as_ref().map_or(0, |status| status.replicas)
    }

    /// Age, oldest first.
    pub fn created_ms(&self) -> u64 {
        self.set
            .metadata
            .creation_timestamp
            .as_ref()
            .map_or(u64::MAX, ms_of)
    }

    /// Its revision; 0 when it has none.
    pub fn revision(&self) -> i64 {
        self.annotation(REVISION)
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    }

    fn annotation(&self, name: &str) -> Option<&str> {
        self.set
            .metadata
            .annotations
            .as_ref()?
            .get(name)
            .map(String::as_str)
    }

    fn annotate(&mut self, name: &str, value: String) {
        self.set
            .metadata
            .annotations
            .get_or_insert_default()
            .insert(name.into(), value);
    }

    /// Replicas that the Deployment wanted when this set was last scaled.
    pub fn desired_annotation(&self) -> Option<i32> {
        self.annotation(DESIRED)?.parse().ok()
    }

    /// Replicas with surge that the Deployment allowed when this set was last scaled.
    pub fn max_annotation(&self) -> Option<i32> {
        self.annotation(MAX)?.parse().ok()
    }

    fn template(&self) -> Value {
        let template = self
            .set
            .spec
            .as_ref()
            .and_then(|spec| spec.template.as_ref());
        without_hash(template.cloned().unwrap_or_default())
    }

    /// Whether history cleanup may remove it.
    pub fn is_cleanable(&self) -> bool {
        let observed = self
            .set
            .status
            .as_ref()
            .and_then(|status| status.observed_generation);
        self.actual() == 0
            && self.replicas() == 0
            && self.set.metadata.generation.unwrap_or(0) <= observed.unwrap_or(0)
            && self.set.metadata.deletion_timestamp.is_none()
    }

    /// Deletes it with the other writes.
    pub fn delete(&mut self) {
        self.deleted = true;
    }

    /// Adds what changed to the plan.
    pub fn write(self, plan: &mut Plan) {
        match &self.stored {
            None => plan.create(&self.set),
            Some(object) if self.deleted => plan.delete(object),
            Some(object) => plan.edit(object, |value| {
                let (annotations, spec) = (&self.set.metadata.annotations, &self.set.spec);
                if let Some(annotations) = annotations {
                    value["metadata"]["annotations"] = json!(annotations);
                }
                if let Some(spec) = spec {
                    value["spec"]["replicas"] = json!(spec.replicas);
                    if value["spec"]["minReadySeconds"].as_i64().unwrap_or(0)
                        != i64::from(spec.min_ready_seconds.unwrap_or(0))
                    {
                        value["spec"]["minReadySeconds"] = json!(spec.min_ready_seconds);
                    }
                }
            }),
        }
    }
}

fn without_hash(mut template: PodTemplateSpec) -> Value {
    if let Some(labels) = template
        .metadata
        .as_mut()
        .and_then(|meta| meta.labels.as_mut())
    {
        labels.remove(HASH_LABEL);
    }
    to_value(&template)
}

fn defaulted(template: Value) -> Value {
    let mut set = json!({ "metadata": {}, "spec": { "template": template } });
    if let Some(kind) = kontiki_api::by_resource("replicasets.apps") {
        kind.default(&mut set);
    }
    set["spec"]["template"].take()
}

impl Work<'_> {
    /// Tells the set of the present template from the older ones.
    pub fn sort_sets(&mut self, mut sets: Vec<Set>) {
        sets.sort_by(|a, b| (a.created_ms(), a.name()).cmp(&(b.created_ms(), b.name())));
        let template = without_hash(self.spec.template.clone());
        // A template stored before some default existed must not look new, or it would be rolled out for ever.
        let same = |set: &Set| set.template() == template;
        let idx = sets.iter().position(same).or_else(|| {
            let template = defaulted(template.clone());
            sets.iter()
                .position(|set| defaulted(set.template()) == template)
        });
        if let Some(idx) = idx {
            self.new = Some(sets.remove(idx));
        }
        self.old = sets;
    }

    /// Brings revision and annotations of the new set up to date, and makes it if allowed and missing.
    pub fn sync_revision(&mut self, create: bool) {
        let revision = self.old.iter().map(Set::revision).max().unwrap_or(0) + 1;
        if let Some(mut set) = self.new.take() {
            self.annotate_new(&mut set, revision, true);
            if let Some(spec) = &mut set.set.spec {
                let wanted = self.spec.min_ready_seconds.unwrap_or(0);
                if spec.min_ready_seconds.unwrap_or(0) != wanted {
                    spec.min_ready_seconds = Some(wanted);
                }
            }
            self.revision = set.annotation(REVISION).map(str::to_owned);
            let message = format!("Found new replica set \"{}\"", set.name());
            self.progressing_if_unknown("FoundNewReplicaSet", message);
            self.new = Some(set);
        } else if create {
            self.create_new(revision);
        }
    }

    fn create_new(&mut self, revision: i64) {
        let template = without_hash(self.spec.template.clone());
        let hash = template_hash(&template, self.status.collision_count);
        let name = format!("{}-{hash}", self.deployment.name());
        let namespace = self.deployment.namespace();
        if self
            .view
            .snapshot
            .find("replicasets.apps", namespace, &name)
            .is_some()
        {
            // Somebody else's set has our name: another hash next time.
            self.status.collision_count = Some(self.status.collision_count.unwrap_or(0) + 1);
            return;
        }
        let mut template = self.spec.template.clone();
        let labels = template
            .metadata
            .get_or_insert_default()
            .labels
            .get_or_insert_default();
        labels.insert(HASH_LABEL.into(), hash.clone());
        let labels = labels.clone();
        let mut selector: LabelSelector = self.spec.selector.clone();
        selector
            .match_labels
            .get_or_insert_default()
            .insert(HASH_LABEL.into(), hash);
        let set = ReplicaSet {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(namespace.into()),
                labels: Some(labels),
                owner_references: Some(vec![controller_ref(&self.deployment)]),
                ..ObjectMeta::default()
            },
            spec: Some(ReplicaSetSpec {
                replicas: Some(0),
                min_ready_seconds: self.spec.min_ready_seconds,
                selector,
                template: Some(template),
            }),
            status: None,
        };
        let mut set = Set {
            stored: None,
            set,
            deleted: false,
        };
        let replicas = self.new_set_size(&set);
        if let Some(spec) = &mut set.set.spec {
            spec.replicas = Some(replicas);
        }
        self.annotate_new(&mut set, revision, false);
        if replicas > 0 {
            self.scaled_event(&name, 0, replicas);
        }
        self.revision = set.annotation(REVISION).map(str::to_owned);
        let message = format!("Created new replica set \"{name}\"");
        self.progressing(true, "NewReplicaSetCreated", message);
        self.new = Some(set);
    }

    fn annotate_new(&self, set: &mut Set, revision: i64, exists: bool) {
        let own = [REVISION, REVISION_HISTORY, DESIRED, MAX];
        let skip = |name: &str| {
            own.contains(&name)
                || name == "kubectl.kubernetes.io/last-applied-configuration"
                || name == "deprecated.deployment.rollback.to"
        };
        let annotations: BTreeMap<String, String> = self
            .deployment
            .metadata
            .annotations
            .clone()
            .unwrap_or_default();
        for (name, value) in annotations.into_iter().filter(|(name, _)| !skip(name)) {
            set.annotate(&name, value);
        }
        let before = set.revision();
        if revision > before {
            let old = set.annotation(REVISION).map(str::to_owned);
            set.annotate(REVISION, revision.to_string());
            if let Some(old) = old {
                let history = set.annotation(REVISION_HISTORY).unwrap_or_default();
                set.annotate(REVISION_HISTORY, extended_history(history, &old));
            }
        }
        if !exists {
            let (desired, surge) = (self.replicas(), self.max_surge());
            set.annotate(DESIRED, desired.to_string());
            set.annotate(MAX, (desired + surge).to_string());
        }
    }

    /// Sets the size of a set and the annotations that proportional scaling reads. Tells whether the size changed.
    pub fn scale_set(&mut self, new: bool, idx: usize, replicas: i32) -> bool {
        let (desired, max) = (self.replicas(), self.replicas() + self.max_surge());
        let set = if new {
            self.new.as_mut()
        } else {
            self.old.get_mut(idx)
        };
        let Some(set) = set else { return false };
        let before = set.replicas();
        if set.desired_annotation() != Some(desired) || set.max_annotation() != Some(max) {
            set.annotate(DESIRED, desired.to_string());
            set.annotate(MAX, max.to_string());
        }
        if before == replicas {
            return false;
        }
        if let Some(spec) = &mut set.set.spec {
            spec.replicas = Some(replicas);
        }
        let name = set.name().to_owned();
        self.scaled_event(&name, before, replicas);
        true
    }

    fn scaled_event(&mut self, name: &str, before: i32, after: i32) {
        let direction = if after > before { "up" } else { "down" };
        let message = format!("Scaled {direction} replica set {name} from {before} to {after}");
        self.plan
            .event(&self.deployment, "ScalingReplicaSet", message);
    }
}

fn extended_history(history: &str, revision: &str) -> String {
    let mut revisions: Vec<&str> = history.split(',').filter(|part| !part.is_empty()).collect();
    revisions.push(revision);
    let mut length = revisions.iter().map(|part| part.len() + 1).sum::<usize>();
    while length > HISTORY_BYTES && revisions.len() > 1 {
        length -= revisions.remove(0).len() + 1;
    }
    revisions.join(",")
}
