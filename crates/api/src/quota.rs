//! ResourceQuota's arithmetic: what an object uses, which quotas it counts against, and whether there is room.
//!
//! Pure, and shared by admission, which charges what is new, and by the controller, which counts what is there. Names,
//! scopes and texts are upstream's (`pkg/quota/v1/evaluator/core`, plugin `ResourceQuota`). Rules of the quota itself are
//! its kind's.

mod names;
mod scopes;
mod usage;

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, ResourceQuota, Service};
use serde_json::Value;

use crate::podspec::json::typed;
use crate::podspec::totals::{Amounts, add, amounts};
use crate::quantity::Quantity;

pub use names::{counted, matching};
pub use usage::{is_charged, missing};

/// An object that may count against quotas, read as far as counting needs.
pub enum Subject<'a> {
    /// `pods`.
    Pod(&'a Pod),
    /// `services`.
    Service(&'a Service),
    /// `persistentvolumeclaims`.
    Claim(&'a PersistentVolumeClaim),
    /// Any other resource, of which only the number counts: its id, such as `jobs.batch`.
    Other(&'a str),
}

/// The same with its object.
pub enum Owned {
    /// `pods`.
    Pod(Box<Pod>),
    /// `services`.
    Service(Box<Service>),
    /// `persistentvolumeclaims`.
    Claim(Box<PersistentVolumeClaim>),
    /// Any other resource.
    Other(String),
}

impl Owned {
    /// Reads an object of a resource.
    pub fn of(resource: &str, object: &Value) -> Self {
        match resource {
            "pods" => Self::Pod(Box::new(typed(Some(object)))),
            "services" => Self::Service(Box::new(typed(Some(object)))),
            "persistentvolumeclaims" => Self::Claim(Box::new(typed(Some(object)))),
            other => Self::Other(other.to_owned()),
        }
    }

    /// What counting reads.
    pub fn subject(&self) -> Subject<'_> {
        match self {
            Self::Pod(pod) => Subject::Pod(pod),
            Self::Service(service) => Subject::Service(service),
            Self::Claim(claim) => Subject::Claim(claim),
            Self::Other(resource) => Subject::Other(resource),
        }
    }
}

impl Subject<'_> {
    /// What it uses, by the names that quotas may give it.
    pub fn usage(&self, now_ms: u64) -> Amounts {
        match self {
            Self::Pod(pod) => usage::of_pod(pod, now_ms),
            Self::Service(service) => usage::of_service(service),
            Self::Claim(claim) => usage::of_claim(claim),
            Self::Other(resource) => usage::of_any(resource),
        }
    }

    /// Its resource's id.
    pub fn resource(&self) -> &str {
        match self {
            Self::Pod(_) => "pods",
            Self::Service(_) => "services",
            Self::Claim(_) => "persistentvolumeclaims",
            Self::Other(resource) => resource,
        }
    }

    /// Whether a quota's scopes cover it.
    pub fn is_in_scope(&self, quota: &ResourceQuota) -> bool {
        scopes::cover(quota, self)
    }
}

/// A change of what is used: the object as it shall be, and as it was.
pub struct Change<'a> {
    /// The new object.
    pub new: Subject<'a>,
    /// The old one; none for a create.
    pub old: Option<Subject<'a>>,
}

/// A quota that a change counts against, by its index, and what is used of it then.
#[derive(Debug, Clone, PartialEq)]
pub struct Charge {
    /// Among the quotas asked about.
    pub quota_idx: usize,
    /// All of `status.used` after the change.
    pub used: Amounts,
}

/// What a change costs, or why it must not be (the reason of a 403).
pub fn charge(
    quotas: &[&ResourceQuota],
    change: &Change<'_>,
    now_ms: u64,
) -> Result<Vec<Charge>, String> {
    let mut interested = Vec::new();
    for (quota_idx, quota) in quotas.iter().enumerate() {
        let hard = hard(quota);
        let restricted = matching(change.new.resource(), hard.keys().map(String::as_str));
        if restricted.is_empty() || !change.new.is_in_scope(quota) {
            continue;
        }
        let name = quota.metadata.name.as_deref().unwrap_or_default();
        if let Subject::Pod(pod) = change.new {
            missing(pod, &restricted).map_err(|why| format!("failed quota: {name}: {why}"))?;
        }
        let used = used(quota);
        if restricted.iter().any(|name| !used.contains_key(*name)) {
            let resources = restricted.iter().copied().collect::<Vec<_>>().join(",");
            return Err(format!(
                "status unknown for quota: {name}, resources: {resources}"
            ));
        }
        interested.push((quota_idx, name, hard, used));
    }
    if interested.is_empty() {
        return Ok(Vec::new());
    }
    let delta = delta(change, now_ms)?;
    let mut charges = Vec::new();
    for (quota_idx, name, hard, mut used) in interested {
        let mut requested = delta.clone();
        requested.retain(|name, amount| amount.sign() != 0 && hard.contains_key(name));
        if requested.is_empty() {
            continue;
        }
        fits(name, &requested, &used, &hard)?;
        add(&mut used, &requested);
        charges.push(Charge { quota_idx, used });
    }
    Ok(charges)
}

/// What a change adds to what is used.
fn delta(change: &Change<'_>, now_ms: u64) -> Result<Amounts, String> {
    let mut delta = change.new.usage(now_ms);
    let negative: Vec<&str> = delta
        .iter()
        .filter(|(_, amount)| amount.sign() < 0)
        .map(|(name, _)| name.as_str())
        .collect();
    if !negative.is_empty() {
        let resources = negative.join(",");
        return Err(format!(
            "quota usage is negative for resource(s): {resources}"
        ));
    }
    if let Some(old) = &change.old {
        for (name, amount) in old.usage(now_ms) {
            let left = delta.get(&name).copied().unwrap_or_default();
            delta.insert(name, left.minus(amount));
        }
    }
    Ok(delta)
}

/// Refuses what asks for more than is left. What asks for less may also where too much is used already.
fn fits(name: &str, requested: &Amounts, used: &Amounts, hard: &Amounts) -> Result<(), String> {
    let is_exceeded = |resource: &String, more: &Quantity| {
        let used = used.get(resource).copied().unwrap_or_default();
        let limit = hard.get(resource);
        more.sign() > 0 && limit.is_some_and(|limit| used.plus(*more) > *limit)
    };
    let exceeded: BTreeSet<&String> = requested
        .iter()
        .filter(|(resource, more)| is_exceeded(resource, more))
        .map(|(resource, _)| resource)
        .collect();
    if exceeded.is_empty() {
        return Ok(());
    }
    let told = |amounts: &Amounts| {
        let told = exceeded.iter().filter_map(|resource| {
            let amount = amounts.get(*resource)?;
            Some(format!("{resource}={amount}"))
        });
        told.collect::<Vec<_>>().join(",")
    };
    let (requested, used, hard) = (told(requested), told(used), told(hard));
    Err(format!(
        "exceeded quota: {name}, requested: {requested}, used: {used}, limited: {hard}"
    ))
}

/// What may be used, as the controller has taken note of it.
pub fn hard(quota: &ResourceQuota) -> Amounts {
    amounts(
        quota
            .status
            .as_ref()
            .and_then(|status| status.hard.as_ref()),
    )
}

/// What is used, as far as it is known.
pub fn used(quota: &ResourceQuota) -> Amounts {
    amounts(
        quota
            .status
            .as_ref()
            .and_then(|status| status.used.as_ref()),
    )
}

#[cfg(test)]
mod tests;
