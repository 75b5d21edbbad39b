//! The history of a DaemonSet's template. A revision and the pods of it carry the same hash.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::template::HASH_LABEL;
use super::{RESOURCE, Work};
use crate::Error;
use crate::history::{self, Place};
use crate::plan::Plan;
use crate::view::{Found, View};

/// The present revision's hash, and the older ones.
pub struct Chosen {
    /// As pods carry it.
    pub hash: String,
    /// Oldest first.
    pub old: Vec<Found<ControllerRevision>>,
}

fn hash_of(revision: &Found<ControllerRevision>) -> String {
    let labels = revision.metadata.labels.as_ref();
    let hash = labels.and_then(|labels| labels.get(HASH_LABEL));
    hash.cloned().unwrap_or_else(|| revision.name().to_owned())
}

/// Finds the revision of the present template, or makes it; it is the newest from then on.
pub fn choose(
    view: &View<'_>,
    set: &Found<DaemonSet>,
    revisions: &[Found<ControllerRevision>],
    collision_count: &mut Option<i32>,
    plan: &mut Plan,
) -> Result<Chosen, Error> {
    let template = set.spec.clone().unwrap_or_default().template;
    let data = history::data_of(&template);
    let is_present = |it: &Found<ControllerRevision>| history::is_of(it, &data, RESOURCE);
    let (present, old): (Vec<_>, Vec<_>) = revisions.iter().cloned().partition(is_present);
    let number = history::next_number(&old);
    if let Some((last, twins)) = present.split_last() {
        twins.iter().for_each(|twin| plan.delete(&twin.object));
        let hash = hash_of(last);
        plan.edit(&last.object, |value| {
            if last.revision < number {
                value["revision"] = json!(number);
            }
            value["metadata"]["labels"][HASH_LABEL] = json!(hash);
        });
        return Ok(Chosen { hash, old });
    }
    let mut collisions = collision_count.unwrap_or(0);
    let hash = match history::place_for(view, set, &data, &mut collisions)? {
        Place::Same(found) => hash_of(&found),
        Place::Free { name, hash } => {
            let labels = template.metadata.and_then(|metadata| metadata.labels);
            let mut labels = labels.unwrap_or_default();
            labels.insert(HASH_LABEL.into(), hash.clone());
            plan.create(&history::revision_of(set, &name, number, data, labels));
            hash
        }
    };
    if collisions > 0 {
        *collision_count = Some(collisions);
    }
    Ok(Chosen { hash, old })
}

impl Work<'_> {
    /// Deletes the oldest revisions that no pod is of, beyond `revisionHistoryLimit`.
    pub fn truncate_history(&mut self, old: &[Found<ControllerRevision>], pods: &[Found<Pod>]) {
        let limit = usize::try_from(self.spec.revision_history_limit.unwrap_or(10)).unwrap_or(0);
        let excess = old.len().saturating_sub(limit);
        let hash = |pod: &Found<Pod>| pod.metadata.labels.as_ref()?.get(HASH_LABEL).cloned();
        let live: BTreeSet<String> = pods.iter().filter_map(hash).collect();
        let dead = old.iter().filter(|it| !live.contains(&hash_of(it)));
        for revision in dead.take(excess) {
            self.plan.delete(&revision.object);
        }
    }
}
