//! Counts what is used of each ResourceQuota: at first, when something is given back, and now and then.
//!
//! What is new is charged by admission, in the same transaction; a count that was made before it loses its race there.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, Pod, ResourceQuota, ResourceQuotaStatus, Service,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use kontiki_api::podspec::totals::{Amounts, add, amounts};
use kontiki_api::quantity::Quantity;
use kontiki_api::quota::{self, Subject};
use kontiki_state::Object;

use crate::plan::Plan;
use crate::view::{Found, View};
use crate::{Controller, Error, Watch, WorkKey};

const QUOTAS: &str = "resourcequotas";
/// Everything is counted again after this (upstream's `--resource-quota-sync-period`).
const PERIOD: Duration = Duration::from_secs(300);
/// Writes that were admitted before a quota took hold are committed by then.
const SETTLED: Duration = Duration::from_secs(15);
const _: () = assert!(SETTLED.as_secs() > kontiki_base::limits::PROPOSAL_TIMEOUT.as_secs());

/// The controller.
pub struct ResourceQuotaController;

impl Controller for ResourceQuotaController {
    fn name(&self) -> &'static str {
        "resourcequota-controller"
    }

    fn watches(&self) -> &'static [Watch] {
        &[
            Watch {
                resource: QUOTAS,
                map: crate::itself,
            },
            Watch {
                resource: "",
                map: concerned,
            },
        ]
    }

    fn reconcile(&self, view: &View<'_>, key: &WorkKey) -> Result<Plan, Error> {
        let mut plan = Plan::none();
        let Some(quota) = view.get::<ResourceQuota>(&key.namespace, &key.name)? else {
            return Ok(plan);
        };
        if quota.object.header.deleting {
            return Ok(plan);
        }
        let hard = quota.spec.as_ref().and_then(|spec| spec.hard.clone());
        let status = ResourceQuotaStatus {
            used: Some(texts(&count(view, &quota)?)),
            hard: Some(hard.unwrap_or_default()),
        };
        let is_new = amounts(status.hard.as_ref()) != quota::hard(&quota);
        let is_known = quota.status.as_ref().is_some_and(|it| it.hard.is_some());
        if is_new || !is_known || amounts(status.used.as_ref()) != quota::used(&quota) {
            plan.set_status(&quota.object, &status);
        }
        plan.requeue_after = Some(if is_new || !is_known { SETTLED } else { PERIOD });
        Ok(plan)
    }
}

/// Quotas that an object may have given something back to.
fn concerned(view: &View<'_>, object: &Object) -> Vec<WorkKey> {
    let (resource, namespace) = (&*object.key.resource, &*object.key.namespace);
    if namespace.is_empty() {
        return Vec::new();
    }
    let stored = view.snapshot.get(&object.key);
    let is_gone = stored.is_none_or(|stored| stored.header.uid != object.header.uid);
    let may_change = match resource {
        "pods" => has_ended(object),
        "services" | "persistentvolumeclaims" => true,
        _ => false,
    };
    if !is_gone && !may_change {
        return Vec::new();
    }
    let quotas = view.snapshot.list(QUOTAS, Some(namespace), None);
    quotas.map(|quota| WorkKey::of(&quota)).collect()
}

/// Told by the selectable fields, without decoding.
fn has_ended(pod: &Object) -> bool {
    let mut fields = pod.header.fields.iter();
    fields.any(|(field, value)| {
        &**field == "status.phase" && matches!(&**value, "Succeeded" | "Failed")
    })
}

/// What the objects of a quota's namespace use of what it limits.
fn count(view: &View<'_>, quota: &Found<ResourceQuota>) -> Result<Amounts, Error> {
    let hard = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
    let names = || hard.into_iter().flatten().map(|(name, _)| name.as_str());
    let namespace = Some(quota.namespace());
    let mut used: Amounts = names()
        .map(|name| (name.to_owned(), Quantity::default()))
        .collect();
    let mut count = |subject: &Subject<'_>| {
        if subject.is_in_scope(quota) {
            let mut usage = subject.usage(view.now_ms);
            usage.retain(|name, _| used.contains_key(name));
            add(&mut used, &usage);
        }
    };
    for resource in quota::counted(names()) {
        match resource.as_str() {
            "pods" => {
                for pod in view.list::<Pod>(namespace)? {
                    count(&Subject::Pod(&pod));
                }
            }
            "services" => {
                for service in view.list::<Service>(namespace)? {
                    count(&Subject::Service(&service));
                }
            }
            "persistentvolumeclaims" => {
                for claim in view.list::<PersistentVolumeClaim>(namespace)? {
                    count(&Subject::Claim(&claim));
                }
            }
            other => {
                for _ in view.snapshot.list(other, namespace, None) {
                    count(&Subject::Other(other));
                }
            }
        }
    }
    Ok(used)
}

fn texts(amounts: &Amounts) -> BTreeMap<String, Text> {
    let texts = amounts.iter();
    texts
        .map(|(name, amount)| (name.clone(), Text(amount.to_string())))
        .collect()
}
