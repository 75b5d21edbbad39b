//! Which revisions a StatefulSet is between, and which of its past ones are kept.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use serde_json::json;

use super::identity::revision_of;
use super::{RESOURCE, Work};
use crate::Error;
use crate::history::{self, Place};
use crate::plan::Plan;
use crate::view::{Found, View};

/// Label of a revision with its hash.
const HASH_LABEL: &str = "controller.kubernetes.io/hash";

/// A template by the name of its revision.
#[derive(Debug, Clone)]
pub struct Revision {
    /// Name of the ControllerRevision.
    pub name: String,
    /// Its template.
    pub template: PodTemplateSpec,
}

/// What a set is between.
pub struct Chosen {
    /// Of the pods that are not to be updated yet.
    pub current: Revision,
    /// Of the present template.
    pub update: Revision,
    /// Names that others had.
    pub collisions: i32,
}

/// Finds the revision of the present template, or makes it, and the one that the status calls current.
pub fn choose(
    view: &View<'_>,
    set: &Found<StatefulSet>,
    revisions: &[Found<ControllerRevision>],
    plan: &mut Plan,
) -> Result<Chosen, Error> {
    let status = set.status.clone().unwrap_or_default();
    let mut collisions = status.collision_count.unwrap_or(0);
    let spec = set.spec.clone().unwrap_or_default();
    let data = history::data_of(&spec.template);
    let same = |it: &Found<ControllerRevision>| history::is_of(it, &data, RESOURCE);
    let number = history::next_number(revisions);
    let name = match revisions.iter().rposition(same) {
        Some(idx) => {
            let found = &revisions[idx];
            if idx + 1 < revisions.len() {
                // Rolled back: the old one is the newest again.
                plan.edit(&found.object, |value| value["revision"] = json!(number));
            }
            found.name().to_owned()
        }
        None => match history::place_for(view, set, &data, &mut collisions)? {
            Place::Same(found) => found.name().to_owned(),
            Place::Free { name, hash } => {
                let template = spec.template.metadata.as_ref();
                let labels = template.and_then(|it| it.labels.clone());
                let mut labels = labels.unwrap_or_default();
                labels.insert(HASH_LABEL.into(), hash);
                plan.create(&history::revision_of(set, &name, number, data, labels));
                name
            }
        },
    };
    let update = Revision {
        name,
        template: spec.template,
    };
    let current = status.current_revision.as_deref().unwrap_or_default();
    let current = match revisions.iter().find(|it| it.name() == current) {
        Some(found) if found.name() != update.name => Revision {
            name: found.name().to_owned(),
            template: history::template_of(found)?,
        },
        _ => update.clone(),
    };
    Ok(Chosen {
        current,
        update,
        collisions,
    })
}

impl Work<'_> {
    /// Deletes the oldest revisions that no pod is of, beyond `revisionHistoryLimit`.
    pub fn truncate_history(&mut self, pods: &[Found<Pod>]) {
        let Ok(limit) = usize::try_from(self.spec.revision_history_limit.unwrap_or(10)) else {
            return; // negative: all are kept
        };
        let mut live: BTreeSet<&str> = pods.iter().map(|pod| revision_of(pod)).collect();
        live.extend([self.current.name.as_str(), self.update.name.as_str()]);
        let past = self.revisions.iter().filter(|it| !live.contains(it.name()));
        let past: Vec<_> = past.collect();
        let excess = past.len().saturating_sub(limit);
        for revision in past.into_iter().take(excess) {
            self.plan.delete(&revision.object);
        }
    }
}
