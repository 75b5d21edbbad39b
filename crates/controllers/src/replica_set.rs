//! ReplicaSets: interchangeable pods, as `replicas` keeps them.

use k8s_openapi::api::apps::v1::ReplicaSet;

use crate::owned::pod_to_replica_sets;
use crate::plan::Plan;
use crate::replicas::{self, Replicated, Wanted};
use crate::view::View;
use crate::{Controller, Error, Watch, WorkKey, itself};

/// The controller.
pub struct ReplicaSetController;

impl Replicated for ReplicaSet {
    fn wanted(&self) -> Option<Wanted> {
        let spec = self.spec.as_ref()?;
        Some(Wanted {
            replicas: spec.replicas.unwrap_or(1),
            min_ready_seconds: spec.min_ready_seconds.unwrap_or(0),
            selector: spec.selector.clone(),
            template: spec.template.clone(),
            tells_terminating: true,
        })
    }
}

impl Controller for ReplicaSetController {
    fn name(&self) -> &'static str {
        "replicaset-controller"
    }

    fn watches(&self) -> &'static [Watch] {
        &[
            Watch {
                resource: "replicasets.apps",
                map: itself,
            },
            Watch {
                resource: "pods",
                map: pod_to_replica_sets,
            },
        ]
    }

    fn reconcile(&self, view: &View<'_>, key: &WorkKey) -> Result<Plan, Error> {
        replicas::reconcile::<ReplicaSet>(view, key)
    }
}
