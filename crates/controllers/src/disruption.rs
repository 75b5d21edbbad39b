//! PodDisruptionBudgets: how many of the pods that a budget is about are healthy, how many must be, and hence how many
//! evictions it allows now (upstream `pkg/controller/disruption`).
//!
//! The eviction itself takes one off the allowance and notes the pod, in one transaction with its deletion; what
//! follows from that is counted here.

mod expected;
mod stale;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kontiki_api::kinds::pod_disruption_budget::{set_condition, update_condition};
use kontiki_api::time::rfc3339;
use kontiki_state::Object;
use serde_json::json;

pub use self::stale::StaleTargets;

use crate::plan::{Plan, to_value};
use crate::pods::is_ready;
use crate::selector::selects;
use crate::view::{Found, View, ms_of};
use crate::{Controller, Error, Watch, WorkKey, itself};

/// A pod that was to be evicted counts as gone for so long.
const DELETION_TIMEOUT_MS: u64 = 120_000;

/// The controller.
pub struct DisruptionController;

impl Controller for DisruptionController {
    fn name(&self) -> &'static str {
        "disruption-controller"
    }

    fn watches(&self) -> &'static [Watch] {
        &[
            Watch {
                resource: "poddisruptionbudgets.policy",
                map: itself,
            },
            Watch {
                resource: "pods",
                map: budgets_of,
            },
        ]
    }

    fn reconcile(&self, view: &View<'_>, key: &WorkKey) -> Result<Plan, Error> {
        let mut plan = Plan::none();
        let budget = view.get::<PodDisruptionBudget>(&key.namespace, &key.name)?;
        let Some(budget) = budget.filter(|it| it.metadata.deletion_timestamp.is_none()) else {
            return Ok(plan);
        };
        let pods = pods_of(view, &budget)?;
        if pods.is_empty() {
            plan.event(&budget, "NoPods", "No matching pods found");
        }
        match expected::count(view, &budget, &pods)? {
            Ok(expected) => update(view, &budget, &pods, &expected, &mut plan),
            Err(why) => {
                let message = format!("Failed to calculate the number of expected pods: {why}");
                plan.warn(&budget, "CalculateExpectedPodCountFailed", message);
                fail_safe(view, &budget, &why, &mut plan);
            }
        }
        Ok(plan)
    }
}

type Budget = Found<PodDisruptionBudget>;

/// Budgets that are about a pod.
fn budgets_of(view: &View<'_>, pod: &Object) -> Vec<WorkKey> {
    let labels = labels(pod);
    let budgets = view.list::<PodDisruptionBudget>(Some(&pod.key.namespace));
    let budgets = budgets.unwrap_or_default().into_iter();
    budgets
        .filter(|budget| is_about(budget, &labels))
        .map(|budget| WorkKey::of(&budget.object))
        .collect()
}

/// No selector selects nothing, an empty one everything.
fn is_about(budget: &PodDisruptionBudget, labels: &BTreeMap<String, String>) -> bool {
    let selector = budget.spec.as_ref().and_then(|it| it.selector.as_ref());
    selector.is_some_and(|selector| selects(selector, Some(labels)))
}

fn labels(object: &Object) -> BTreeMap<String, String> {
    let pairs = object.header.labels.iter();
    pairs
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect()
}

/// Headers hold labels: pods of others are not decoded.
fn pods_of(view: &View<'_>, budget: &Budget) -> Result<Vec<Found<Pod>>, Error> {
    let pods = view.snapshot.list("pods", Some(budget.namespace()), None);
    pods.filter(|pod| is_about(budget, &labels(pod)))
        .map(crate::view::typed::<Pod>)
        .collect()
}

fn update(
    view: &View<'_>,
    budget: &Budget,
    pods: &[Found<Pod>],
    expected: &expected::Expected,
    plan: &mut Plan,
) {
    if !expected.unmanaged.is_empty() {
        let message = format!(
            "Pods selected by this PodDisruptionBudget (selector: {}) were found to be unmanaged. As a result, the \
             status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account for \
             these pods please set \".spec.minAvailable\" field of the PDB to an integer value.",
            to_value(&budget.spec.as_ref().and_then(|it| it.selector.clone()))
        );
        plan.warn(budget, "UnmanagedPods", message);
    }
    let disrupted = disrupted(view, budget, pods, plan);
    let is_healthy = |pod: &&Found<Pod>| {
        pod.metadata.deletion_timestamp.is_none()
            && !disrupted.contains_key(pod.name())
            && is_ready(pod)
    };
    let healthy = i32::try_from(pods.iter().filter(is_healthy).count()).unwrap_or(i32::MAX);
    let spare = (healthy - expected.desired_healthy).max(0);
    // A budget without pods allows nothing: its first pods may come before it is counted again.
    let allowed = if expected.pods > 0 { spare } else { 0 };
    let now = rfc3339(view.now_ms);
    plan.edit_status(&budget.object, |value| {
        let conditions = value["status"]["conditions"].take();
        value["status"] = json!({
            "currentHealthy": healthy,
            "desiredHealthy": expected.desired_healthy,
            "expectedPods": expected.pods,
            "disruptionsAllowed": allowed,
            "observedGeneration": budget.metadata.generation,
        });
        if !disrupted.is_empty() {
            value["status"]["disruptedPods"] = to_value(&disrupted);
        }
        if !conditions.is_null() {
            value["status"]["conditions"] = conditions;
        }
        update_condition(value, &now);
    });
}

/// Pods whose eviction is under way, and when to look again whether they went.
fn disrupted(
    view: &View<'_>,
    budget: &Budget,
    pods: &[Found<Pod>],
    plan: &mut Plan,
) -> BTreeMap<String, Time> {
    let mut under_way = BTreeMap::new();
    let noted = budget.status.as_ref();
    let noted = noted.and_then(|status| status.disrupted_pods.as_ref());
    for pod in pods {
        let since = noted.and_then(|noted| noted.get(pod.name()));
        let Some(since) = since.filter(|_| pod.metadata.deletion_timestamp.is_none()) else {
            continue;
        };
        let until_ms = ms_of(since) + DELETION_TIMEOUT_MS;
        if until_ms < view.now_ms {
            let (namespace, name) = (budget.namespace(), budget.name());
            let message =
                format!("Pod was expected by PDB {namespace}/{name} to be deleted but it wasn't");
            plan.warn(pod, "NotDeleted", message);
        } else {
            plan.requeue_after_ms(until_ms - view.now_ms + 1);
            under_way.insert(pod.name().to_owned(), since.clone());
        }
    }
    under_way
}

/// What cannot be counted allows nothing.
fn fail_safe(view: &View<'_>, budget: &Budget, why: &str, plan: &mut Plan) {
    let now = rfc3339(view.now_ms);
    plan.edit_status(&budget.object, |value| {
        if !value["status"].is_object() {
            value["status"] = json!({"currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0});
        }
        value["status"]["disruptionsAllowed"] = json!(0);
        set_condition(value, "False", "SyncFailed", why, &now);
    });
}
