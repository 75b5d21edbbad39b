//! The two priority classes that always exist, for pods without which a node or the cluster does not work.

use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kontiki_api::kinds::priority_class::{RESOURCE, SYSTEM_CLASSES};

use crate::plan::Plan;
use crate::view::View;
use crate::{Controller, Error, Watch, WorkKey, everything};

/// The controller.
pub struct PriorityClasses;

impl Controller for PriorityClasses {
    fn name(&self) -> &'static str {
        "system-priority-classes-controller"
    }

    fn watches(&self) -> &'static [Watch] {
        &[Watch {
            resource: RESOURCE,
            map: everything,
        }]
    }

    fn initial(&self) -> Vec<WorkKey> {
        vec![WorkKey::all()]
    }

    fn reconcile(&self, view: &View<'_>, _: &WorkKey) -> Result<Plan, Error> {
        let mut plan = Plan::none();
        for (name, value, description) in SYSTEM_CLASSES {
            if view.snapshot.find(RESOURCE, "", name).is_none() {
                plan.create(&PriorityClass {
                    metadata: ObjectMeta {
                        name: Some(name.into()),
                        ..ObjectMeta::default()
                    },
                    value,
                    description: Some(description.into()),
                    ..PriorityClass::default()
                });
            }
        }
        Ok(plan)
    }
}
