//! ReplicationControllers: interchangeable pods, as `replicas` keeps them, selected by equal labels only.

use k8s_openapi::api::core::v1::ReplicationController;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::owned::pod_to_replication_controllers;
use crate::plan::Plan;
use crate::replicas::{self, Replicated, Wanted};
use crate::view::View;
use crate::{Controller, Error, Watch, WorkKey, itself};

/// The controller.
pub struct ReplicationControllers;

impl Replicated for ReplicationController {
    fn wanted(&self) -> Option<Wanted> {
        let spec = self.spec.as_ref()?;
        Some(Wanted {
            replicas: spec.replicas.unwrap_or(1),
            min_ready_seconds: spec.min_ready_seconds.unwrap_or(0),
            selector: LabelSelector {
                match_labels: spec.selector.clone(),
                match_expressions: None,
            },
            template: spec.template.clone(),
            tells_terminating: false,
        })
    }
}

impl Controller for ReplicationControllers {
    fn name(&self) -> &'static str {
        "replication-controller"
    }

    fn watches(&self) -> &'static [Watch] {
        &[
            Watch {
                resource: "replicationcontrollers",
                map: itself,
            },
            Watch {
                resource: "pods",
                map: pod_to_replication_controllers,
            },
        ]
    }

    fn reconcile(&self, view: &View<'_>, key: &WorkKey) -> Result<Plan, Error> {
        replicas::reconcile::<ReplicationController>(view, key)
    }
}
