//! Deployments: rolls ReplicaSets out, as upstream's deployment controller, step by step and in its arithmetic.
//!
//! `replica_sets` holds the sets that a reconcile works on, `rollout` the steps, `scale` proportional scaling,
//! `status` conditions and progress. All of a reconcile's writes come from comparing the working copies with what
//! is stored.

mod replica_sets;
mod rollout;
mod scale;
mod status;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStatus, ReplicaSet};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::json;

use crate::owned::{claim, pod_to_deployments, replica_set_to_deployments};
use crate::plan::{Plan, to_value};
use crate::scaled::scaled;
use crate::selector;
use crate::view::{Found, View};
use crate::{Controller, Error, Watch, WorkKey, itself};
use replica_sets::Set;

/// Which rollout a ReplicaSet belongs to; `kubectl rollout history` reads it.
const REVISION: &str = "deployment.kubernetes.io/revision";

/// The controller.
pub struct DeploymentController;

/// What one reconcile works on.
struct Work<'a> {
    view: &'a View<'a>,
    deployment: Found<Deployment>,
    spec: DeploymentSpec,
    status: DeploymentStatus,
    revision: Option<String>,
    new: Option<Set>,
    old: Vec<Set>,
    plan: Plan,
}

impl Work<'_> {
    fn replicas(&self) -> i32 {
        self.spec.replicas.unwrap_or(1)
    }

    fn recreate(&self) -> bool {
        self.spec
            .strategy
            .as_ref()
            .and_then(|strategy| strategy.type_.as_deref())
            == Some("Recreate")
    }

    /// `maxSurge` and `maxUnavailable` in pods; not both 0.
    fn fenceposts(&self) -> (i32, i32) {
        let rolling = self
            .spec
            .strategy
            .as_ref()
            .and_then(|strategy| strategy.rolling_update.as_ref());
        let quarter = IntOrString::String("25%".into());
        let part = |value: Option<&IntOrString>, round_up| {
            scaled(value.unwrap_or(&quarter), self.replicas(), round_up)
        };
        let surge = part(rolling.and_then(|rolling| rolling.max_surge.as_ref()), true);
        let unavailable = part(
            rolling.and_then(|rolling| rolling.max_unavailable.as_ref()),
            false,
        );
        if surge == 0 && unavailable == 0 {
            (0, 1)
        } else {
            (surge, unavailable)
        }
    }

    fn max_surge(&self) -> i32 {
        if self.recreate() {
            0
        } else {
            self.fenceposts().0
        }
    }

    fn max_unavailable(&self) -> i32 {
        if self.recreate() || self.replicas() == 0 {
            return 0;
        }
        self.fenceposts().1.min(self.replicas())
    }

    fn sets(&self) -> impl Iterator<Item = &Set> {
        self.old.iter().chain(&self.new)
    }

    fn total_replicas(&self) -> i32 {
        self.sets().map(Set::replicas).sum()
    }

    fn total_available(&self) -> i32 {
        self.sets().map(Set::available).sum()
    }
}

impl Controller for DeploymentController {
    fn name(&self) -> &'static str {
        "deployment-controller"
    }

    fn watches(&self) -> &'static [Watch] {
        &[
            Watch {
                resource: "deployments.apps",
                map: itself,
            },
            Watch {
                resource: "replicasets.apps",
                map: replica_set_to_deployments,
            },
            Watch {
                resource: "pods",
                map: gone_pods,
            },
        ]
    }

    fn reconcile(&self, view: &View<'_>, key: &WorkKey) -> Result<Plan, Error> {
        let Some(deployment) = view.get::<Deployment>(&key.namespace, &key.name)? else {
            return Ok(Plan::none());
        };
        let Some(spec) = deployment.spec.clone() else {
            return Ok(Plan::none());
        };
        let mut plan = Plan::none();
        if selector::is_empty(&spec.selector) {
            let message =
                "This deployment is selecting all pods. A non-empty selector is required.";
            plan.warn(&deployment, "SelectingAll", message);
            return Ok(plan);
        }
        let claimed =
            claim::<Deployment, ReplicaSet>(view, &deployment, &spec.selector, &mut plan)?;
        let mut work = Work {
            view,
            status: deployment.status.clone().unwrap_or_default(),
            revision: None,
            new: None,
            old: Vec::new(),
            spec,
            deployment,
            plan,
        };
        work.sort_sets(claimed.into_iter().map(Set::stored).collect());
        if work.deployment.metadata.deletion_timestamp.is_some() {
            work.sync_status_only();
        } else {
            work.check_paused();
            if work.spec.paused == Some(true) || work.is_scaling_event() {
                work.sync();
            } else if work.recreate() {
                work.roll_out_recreate()?;
            } else {
                work.roll_out_rolling();
            }
        }
        Ok(work.finish())
    }
}

/// Only a pod that ends or goes can unblock a recreation; all else reaches a Deployment through its ReplicaSets.
fn gone_pods(view: &View<'_>, object: &kontiki_state::Object) -> Vec<WorkKey> {
    let ended = matches!(
        object.header.field("status.phase"),
        Some("Succeeded" | "Failed")
    );
    if ended || object.header.deleting {
        pod_to_deployments(view, object)
    } else {
        Vec::new()
    }
}

impl Work<'_> {
    /// Turns the working copies into writes.
    fn finish(mut self) -> Plan {
        let sets: Vec<Set> = self.old.drain(..).chain(self.new.take()).collect();
        for set in sets {
            set.write(&mut self.plan);
        }
        let (status, revision) = (to_value(&self.status), self.revision.take());
        self.plan.edit_status(&self.deployment.object, |value| {
            value["status"] = status;
            if let Some(revision) = revision {
                value["metadata"]["annotations"][REVISION] = json!(revision);
            }
        });
        self.plan
    }
}
