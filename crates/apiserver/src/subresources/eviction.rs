//! Eviction: a deletion that asks the pod's disruption budget (upstream `pkg/registry/core/pod/storage/eviction.go`).
//!
//! The allowance is taken and the pod deleted in one transaction, where upstream writes the budget first and may be left
//! with an allowance that nobody used.

use std::sync::Arc;

use kontiki_api::kinds::pod_disruption_budget::update_condition;
use kontiki_api::managed_fields::Writer;
use kontiki_api::meta::Meta;
use kontiki_api::selector::LabelSelector;
use kontiki_api::{Subresource, by_resource};
use kontiki_base::status::{Cause, Details, Reason, Status};
use kontiki_state::{Object, Op};
use serde_json::{Value, json};

use super::{check_name, created_success, expect_kind};
use crate::authz::content::Operation;
use crate::authz::forbidden_because;
use crate::body::Body;
use crate::options::{Context, DeleteOptions, Target, WriteOptions, Written};
use crate::server::ApiServer;
use crate::write::Draft;

const BUDGETS: &str = "poddisruptionbudgets.policy";
/// Evictions that a budget's controller has not confirmed yet.
const MAX_DISRUPTED_PODS: usize = 2000;
const REFUSED: &str = "Cannot evict pod as it would violate the pod's disruption budget.";
/// When to come back for a budget that is not counted yet.
const RETRY_AFTER_S: u32 = 10;

impl ApiServer {
    /// Deletes a pod, unless a disruption budget forbids it.
    pub(crate) async fn evict(
        &self,
        context: &Context,
        target: &Target,
        body: Body,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        expect_kind(&body.value, "Eviction", &["policy/v1", "policy/v1beta1"])?;
        check_name(target, &body.value, "Eviction")?;
        let pod = Target {
            subresource: None,
            ..target.clone()
        };
        self.current(context, &pod).await?;
        self.authorize_content(context, target, Operation::Create(&body.value))?;
        let mut eviction = body.value;
        let warnings = self
            .admit_action(context, target, &mut eviction, options)
            .await?;
        let delete = DeleteOptions {
            dry_run: options.dry_run,
            ..DeleteOptions::default()
        };
        let delete = delete.merge_body(&eviction["deleteOptions"])?;
        let now = self.now_text();
        let judge = |pod: &mut Value| {
            let ops = match ignores_budgets(pod) {
                true => Vec::new(),
                false => self.ask_budget(pod, &now, delete.dry_run)?,
            };
            if !delete.dry_run {
                note_eviction(pod, &now);
            }
            Ok(ops)
        };
        self.delete_if(context, &pod, &delete, Some(&judge)).await?;
        Ok(created_success(warnings))
    }

    /// The write that takes one disruption off the pod's budget, if it has one and counts; 429 when none is left.
    fn ask_budget(&self, pod: &Value, now: &str, dry_run: bool) -> Result<Vec<Op>, Status> {
        let stored = match self.budgets_of(pod).as_slice() {
            [] => return Ok(Vec::new()),
            [one] => Arc::clone(one),
            _ => {
                let message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not \
                               support.";
                return Err(Status::internal(message));
            }
        };
        let mut budget = stored.value();
        if !is_ready(pod) && lets_unhealthy_go(&budget) {
            return Ok(Vec::new());
        }
        take_one(&mut budget, Meta::of(pod).name(), now)?;
        if dry_run {
            return Ok(Vec::new());
        }
        let kind = by_resource(BUDGETS).ok_or_else(|| Status::internal("a kind is missing"))?;
        Writer::new(kind, "kube-apiserver", now)
            .to(Some(Subresource::Status))
            .update(Some(&stored.value()), &mut budget);
        Ok(vec![Draft::new(kind, budget)?.update(stored.revision)])
    }

    /// Budgets that are about a pod; one without labels has none.
    fn budgets_of(&self, pod: &Value) -> Vec<Arc<Object>> {
        let meta = Meta::of(pod);
        let labels: Vec<(&str, &str)> = meta.labels().collect();
        if labels.is_empty() {
            return Vec::new();
        }
        let snapshot = self.store().snapshot();
        let budgets = snapshot.list(BUDGETS, Some(meta.namespace()), None);
        let is_about = |budget: &Arc<Object>| {
            let selector = budget.value()["spec"]["selector"].take();
            // No selector selects nothing.
            !selector.is_null()
                && LabelSelector::from_value(&selector)
                    .is_ok_and(|selector| selector.matches(labels.as_slice()))
        };
        budgets.filter(is_about).collect()
    }
}

/// A pod that is over, does not run yet or is being deleted disturbs nobody any more.
fn ignores_budgets(pod: &Value) -> bool {
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    matches!(phase, "Succeeded" | "Failed" | "Pending") || Meta::of(pod).is_deleting()
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// Whether a pod that is not ready may go without being counted.
fn lets_unhealthy_go(budget: &Value) -> bool {
    let number = |field: &str| budget["status"][field].as_i64().unwrap_or_default();
    let desired = number("desiredHealthy");
    budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
        || (number("currentHealthy") >= desired && desired > 0)
}

/// Takes one disruption off the budget and notes the pod, or says why that cannot be.
fn take_one(budget: &mut Value, pod: &str, now: &str) -> Result<(), Status> {
    let name = Meta::of(budget).name().to_owned();
    let number = |field: &str| budget["status"][field].as_i64().unwrap_or_default();
    let allowed = number("disruptionsAllowed");
    if number("observedGeneration") < Meta::of(budget).generation() {
        let why = format!("The disruption budget {name} is still being processed by the server.");
        return Err(too_many(&why).with_retry_after(RETRY_AFTER_S));
    }
    let disrupted = budget["status"]["disruptedPods"].as_object();
    let forbidden = if allowed < 0 {
        "pdb disruptions allowed is negative"
    } else if disrupted.is_some_and(|pods| pods.len() > MAX_DISRUPTED_PODS) {
        "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
    } else {
        ""
    };
    if !forbidden.is_empty() {
        return Err(budget_forbidden(&name, forbidden));
    }
    if allowed == 0 {
        let (needs, has) = (number("desiredHealthy"), number("currentHealthy"));
        return Err(too_many(&format!(
            "The disruption budget {name} needs {needs} healthy pods and has {has} currently"
        )));
    }
    budget["status"]["disruptionsAllowed"] = json!(allowed - 1);
    if allowed == 1 {
        update_condition(budget, now);
    }
    budget["status"]["disruptedPods"][pod] = json!(now);
    Ok(())
}

fn too_many(why: &str) -> Status {
    let cause = Cause {
        reason: "DisruptionBudget".into(),
        message: why.to_owned(),
        field: String::new(),
    };
    Status::new(Reason::TooManyRequests, REFUSED).with_details(Details {
        causes: vec![cause],
        ..Details::default()
    })
}

fn budget_forbidden(name: &str, why: &str) -> Status {
    match by_resource(BUDGETS) {
        Some(kind) => forbidden_because(&Target::object(kind, "", name), why),
        None => Status::new(Reason::Forbidden, why),
    }
}

/// Tells the pod's readers why it ends.
fn note_eviction(pod: &mut Value, now: &str) {
    const CONDITION: &str = "DisruptionTarget";
    let mut condition = json!({
        "type": CONDITION,
        "status": "True",
        "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting",
        "lastProbeTime": null,
        "lastTransitionTime": now,
    });
    let conditions = pod["status"]["conditions"].as_array().cloned();
    let mut conditions = conditions.unwrap_or_default();
    match conditions
        .iter_mut()
        .find(|other| other["type"] == CONDITION)
    {
        Some(other) => {
            if other["status"] == "True" {
                condition["lastTransitionTime"] = other["lastTransitionTime"].clone();
            }
            *other = condition;
        }
        None => conditions.push(condition),
    }
    pod["status"]["conditions"] = json!(conditions);
}
