//! StatefulSets: pods with a name, an ordinal and claims of their own, made, updated and deleted in order (upstream's
//! `statefulset` controller).
//!
//! `identity` says which pod is who, `revisions` which template it gets, `claims` what storage it brings, `steps` what
//! is done next, `status` what is told. A pod's name is its identity: a successor is made only when nothing has the
//! name any longer, so that at most one pod per identity exists.

mod claims;
mod identity;
mod revisions;
mod status;
mod steps;

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::Pod;
use kontiki_state::Object;

use crate::owned::{claim_named, pod_to_stateful_sets};
use crate::plan::Plan;
use crate::selector;
use crate::view::{Found, View};
use crate::{Controller, Error, Watch, WorkKey, history, itself};
use revisions::Revision;

/// Resource id of StatefulSets.
const RESOURCE: &str = "statefulsets.apps";
/// Pods created or deleted in one step of a set that needs no order.
const BURST: usize = 500;

/// The controller.
pub struct StatefulSetController;

/// What one reconcile works on.
struct Work<'a> {
    view: &'a View<'a>,
    set: Found<StatefulSet>,
    spec: StatefulSetSpec,
    revisions: Vec<Found<ControllerRevision>>,
    /// Of the pods that are not to be updated yet.
    current: Revision,
    /// Of the present template.
    update: Revision,
    collisions: i32,
    plan: Plan,
    /// Pods that may still be created or deleted in this step.
    room: usize,
}

impl Work<'_> {
    fn replicas(&self) -> i32 {
        self.spec.replicas.unwrap_or(1).max(0)
    }

    /// The first ordinal.
    fn start(&self) -> i32 {
        (self.spec.ordinals.as_ref())
            .and_then(|it| it.start)
            .unwrap_or(0)
    }

    /// Whether pods wait for one another.
    fn ordered(&self) -> bool {
        self.spec.pod_management_policy.as_deref() != Some("Parallel")
    }

    fn rolling(&self) -> bool {
        let strategy = self.spec.update_strategy.as_ref();
        strategy.and_then(|strategy| strategy.type_.as_deref()) != Some("OnDelete")
    }
}

impl Controller for StatefulSetController {
    fn name(&self) -> &'static str {
        "statefulset-controller"
    }

    fn watches(&self) -> &'static [Watch] {
        &[
            Watch {
                resource: RESOURCE,
                map: itself,
            },
            Watch {
                resource: "pods",
                map: pod_to_stateful_sets,
            },
            Watch {
                resource: "persistentvolumeclaims",
                map: claim_to_stateful_sets,
            },
        ]
    }

    fn reconcile(&self, view: &View<'_>, key: &WorkKey) -> Result<Plan, Error> {
        let Some(set) = view.get::<StatefulSet>(&key.namespace, &key.name)? else {
            return Ok(Plan::none());
        };
        let Some(spec) = set.spec.clone() else {
            return Ok(Plan::none());
        };
        if selector::is_empty(&spec.selector) {
            return Ok(Plan::none());
        }
        let mut plan = Plan::none();
        let member = |name: &str| identity::parse(name).is_some_and(|it| it.0 == set.name());
        let pods: Vec<Found<Pod>> =
            claim_named::<_, Pod>(view, &set, &spec.selector, &member, &mut plan)?;
        let revisions = history::revisions(view, &set, &spec.selector, &mut plan)?;
        let chosen = revisions::choose(view, &set, &revisions, &mut plan)?;
        let mut work = Work {
            view,
            set,
            spec,
            revisions,
            current: chosen.current,
            update: chosen.update,
            collisions: chosen.collisions,
            plan,
            room: BURST,
        };
        let mut status = work.count(&pods);
        if work.set.metadata.deletion_timestamp.is_none() {
            work.step(&pods, &mut status)?;
        }
        work.complete_update(&mut status);
        work.truncate_history(&pods);
        let object = work.set.object.clone();
        work.plan.set_status(&object, &status);
        Ok(work.plan)
    }
}

/// Claim → the sets whose pods use it: what is missing is made again, what hinders a pod may be gone.
fn claim_to_stateful_sets(view: &View<'_>, object: &Object) -> Vec<WorkKey> {
    let Some((rest, _)) = identity::parse(&object.key.name) else {
        return Vec::new();
    };
    let sets = view.list::<StatefulSet>(Some(&object.key.namespace));
    let sets = sets.unwrap_or_default();
    let uses = |set: &&Found<StatefulSet>| {
        let templates = (set.spec.iter()).flat_map(|spec| spec.volume_claim_templates.iter());
        templates.flatten().any(|template| {
            let name = template.metadata.name.as_deref().unwrap_or_default();
            let prefix = rest.strip_suffix(set.name());
            prefix.and_then(|prefix| prefix.strip_suffix('-')) == Some(name)
        })
    };
    let using = sets.iter().filter(uses);
    using.map(|set| WorkKey::of(&set.object)).collect()
}
