//! `PodSecurity`: pods are held to the standard that their namespace's labels ask for; of templates that make such pods
//! the client is warned.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::BoxFuture;
use kontiki_api::Subresource;
use kontiki_api::meta::Meta;
use kontiki_api::podsecurity::{Checked, Level, Policy, Standard, Violations, evaluate};
use kontiki_base::status::Status;
use serde_json::Value;

use super::{Effects, Operation, Plugin, Request};

const PREFIX: &str = "pod-security.kubernetes.io/";
/// Pods that are looked at when a namespace gets a stricter standard (upstream `defaultNamespaceMaxPodsToCheck`).
const MAX_PODS_TO_CHECK: usize = 3000;

/// Resources with pod templates, and where those are.
const TEMPLATES: [(&str, &str); 8] = [
    ("replicationcontrollers", "/spec/template"),
    ("podtemplates", "/template"),
    ("replicasets.apps", "/spec/template"),
    ("deployments.apps", "/spec/template"),
    ("statefulsets.apps", "/spec/template"),
    ("daemonsets.apps", "/spec/template"),
    ("jobs.batch", "/spec/template"),
    ("cronjobs.batch", "/spec/jobTemplate/spec/template"),
];

pub(super) struct PodSecurity;

impl Plugin for PodSecurity {
    fn name(&self) -> &'static str {
        "PodSecurity"
    }

    fn handles(&self, request: &Request<'_>) -> bool {
        if !matches!(request.operation, Operation::Create | Operation::Update) {
            return false;
        }
        let subresource = request.target.subresource;
        match &**request.target.kind.resource() {
            "namespaces" => subresource.is_none(),
            "pods" => !is_ignored(subresource) && has_policy(request),
            resource => {
                subresource.is_none() && template_at(resource).is_some() && has_policy(request)
            }
        }
    }

    fn validate<'a>(
        &'a self,
        request: &'a Request<'a>,
        new: Option<&'a Value>,
        effects: &'a mut Effects,
    ) -> BoxFuture<'a, Result<(), Status>> {
        let Some(new) = new else {
            return Box::pin(std::future::ready(Ok(())));
        };
        let judged = match &**request.target.kind.resource() {
            "namespaces" => namespace(request, new, effects),
            "pods" => pod(request, new, effects),
            resource => {
                template(request, resource, new, effects);
                Ok(())
            }
        };
        Box::pin(std::future::ready(judged))
    }
}

fn template_at(resource: &str) -> Option<&'static str> {
    let mut templates = TEMPLATES.iter();
    templates
        .find(|(known, _)| *known == resource)
        .map(|(_, at)| *at)
}

/// Parts of a pod that have nothing of its spec.
fn is_ignored(subresource: Option<Subresource>) -> bool {
    subresource.is_some_and(|part| {
        matches!(
            part.name(),
            "exec" | "attach" | "binding" | "eviction" | "log" | "portforward" | "proxy" | "status"
        )
    })
}

/// Told by the labels that the store keeps at hand.
fn has_policy(request: &Request<'_>) -> bool {
    let snapshot = request.server.store().snapshot();
    let namespace = snapshot.find("namespaces", "", &request.target.namespace);
    namespace.is_some_and(|namespace| {
        let mut labels = namespace.header.labels.iter();
        labels.any(|(key, _)| key.starts_with(PREFIX))
    })
}

fn policy_of_namespace(request: &Request<'_>, effects: &mut Effects) -> Option<Policy> {
    let snapshot = request.server.store().snapshot();
    let namespace = snapshot.find("namespaces", "", &request.target.namespace)?;
    let (policy, errors) = Policy::of_labels(&namespace.value());
    if !errors.is_empty() {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        note(
            effects,
            "error",
            format!("Failed to parse policy: {}", aggregated(&errors)),
        );
    } else if policy.is_privileged() {
        return None;
    }
    Some(policy)
}

/// As Go prints several errors.
fn aggregated(errors: &[String]) -> String {
    match errors {
        [error] => error.clone(),
        errors => format!("[{}]", errors.join(", ")),
    }
}

fn note(effects: &mut Effects, key: &str, value: String) {
    effects.annotations.push((format!("{PREFIX}{key}"), value));
}

fn pod(request: &Request<'_>, new: &Value, effects: &mut Effects) -> Result<(), Status> {
    if request.old.is_some_and(|old| !is_significant(new, old)) {
        return Ok(());
    }
    let Some(policy) = policy_of_namespace(request, effects) else {
        return Ok(());
    };
    let found = Found::new(new);
    note(effects, "enforce-policy", policy.enforce.to_string());
    let enforced = found.by(policy.enforce);
    found.audit(policy.audit, effects);
    if let Some(violations) = enforced {
        let (standard, details) = (policy.enforce, violations.details());
        let why = format!("violates PodSecurity \"{standard}\": {details}");
        return Err(request.forbidden(new, &why));
    }
    found.warn(policy.warn, effects);
    Ok(())
}

fn template(request: &Request<'_>, resource: &str, new: &Value, effects: &mut Effects) {
    let template = template_at(resource).and_then(|at| new.pointer(at));
    let (Some(template), Some(policy)) = (template, policy_of_namespace(request, effects)) else {
        return;
    };
    let found = Found::new(template);
    found.audit(policy.audit, effects);
    found.warn(policy.warn, effects);
}

/// A pod or a template, read for the checks.
struct Found {
    annotations: BTreeMap<String, String>,
    spec: k8s_openapi::api::core::v1::PodSpec,
}

impl Found {
    fn new(pod: &Value) -> Self {
        let read = |at: &str| pod.pointer(at).cloned().unwrap_or_default();
        Self {
            annotations: serde_json::from_value(read("/metadata/annotations")).unwrap_or_default(),
            // It has passed validation.
            spec: serde_json::from_value(read("/spec")).unwrap_or_default(),
        }
    }

    fn by(&self, standard: Standard) -> Option<Violations> {
        let checked = Checked {
            annotations: &self.annotations,
            spec: &self.spec,
        };
        evaluate(standard, &checked)
    }

    fn audit(&self, standard: Standard, effects: &mut Effects) {
        if let Some(violations) = self.by(standard) {
            note(
                effects,
                "audit-violations",
                would_violate(standard, &violations),
            );
        }
    }

    fn warn(&self, standard: Standard, effects: &mut Effects) {
        if let Some(violations) = self.by(standard) {
            effects.warnings.push(would_violate(standard, &violations));
        }
    }
}

fn would_violate(standard: Standard, violations: &Violations) -> String {
    let details = violations.details();
    format!("would violate PodSecurity \"{standard}\": {details}")
}

/// Whether an update may change what the checks find: images, and containers that come or go.
fn is_significant(new: &Value, old: &Value) -> bool {
    let containers = |pod: &Value, list: &str| -> Vec<Value> {
        let list = pod["spec"][list].as_array();
        list.cloned().unwrap_or_default()
    };
    let differs = |list: &str| {
        let (new, old) = (containers(new, list), containers(old, list));
        let mut pairs = new.iter().zip(&old);
        new.len() != old.len() || pairs.any(|(new, old)| new["image"] != old["image"])
    };
    let known = containers(old, "ephemeralContainers");
    let is_new = |container: &Value| {
        let mut known = known.iter();
        let same = known.find(|known| known["name"] == container["name"]);
        same.is_none_or(|same| same["image"] != container["image"])
    };
    differs("containers")
        || differs("initContainers")
        || containers(new, "ephemeralContainers").iter().any(is_new)
}

fn namespace(request: &Request<'_>, new: &Value, effects: &mut Effects) -> Result<(), Status> {
    let (policy, errors) = Policy::of_labels(new);
    let Some(old) = request.old else {
        return refuse(request, new, &errors);
    };
    let (before, old_errors) = Policy::of_labels(old);
    if errors != old_errors {
        refuse(request, new, &errors)?;
    }
    let (enforce, before) = (policy.enforce, before.enforce);
    let is_laxer = enforce.version == before.version && enforce.level <= before.level;
    if enforce != before && enforce.level != Level::Privileged && !is_laxer {
        effects.warnings.extend(violators(request, enforce));
    }
    Ok(())
}

fn refuse(
    request: &Request<'_>,
    new: &Value,
    errors: &[kontiki_api::FieldError],
) -> Result<(), Status> {
    if errors.is_empty() {
        return Ok(());
    }
    Err(request.target.kind.invalid(new, errors))
}

/// What to tell of the pods that a namespace has and that its new standard would refuse.
fn violators(request: &Request<'_>, enforce: Standard) -> Vec<String> {
    let namespace = &request.target.name;
    let snapshot = request.server.store().snapshot();
    let pods: Vec<_> = snapshot.list("pods", Some(namespace), None).collect();
    let n_pods = pods.len();
    // One of each owner first: the others are mostly like it.
    let mut owners = BTreeSet::new();
    let (first, later): (Vec<_>, Vec<_>) = pods.into_iter().partition(|pod| {
        let owner = pod.header.owners.first();
        owner.is_none_or(|owner| owners.insert(owner.clone()))
    });
    let checked = first.into_iter().chain(later).take(MAX_PODS_TO_CHECK);
    let mut counts: BTreeMap<String, (String, usize)> = BTreeMap::new();
    for pod in checked {
        let value = pod.value();
        if let Some(violations) = Found::new(&value).by(enforce) {
            let name = Meta::of(&value).name().to_owned();
            let first = (name.clone(), 0);
            let count = counts.entry(violations.reasons()).or_insert(first);
            count.0 = name.min(count.0.clone());
            count.1 += 1;
        }
    }
    let mut warnings = Vec::new();
    if n_pods > MAX_PODS_TO_CHECK {
        warnings.push(format!(
            "new PodSecurity enforce level only checked against the first {MAX_PODS_TO_CHECK} of {n_pods} existing pods"
        ));
    }
    if !counts.is_empty() {
        warnings.push(format!(
            "existing pods in namespace \"{namespace}\" violate the new PodSecurity enforce level \"{enforce}\""
        ));
    }
    let told = counts
        .into_iter()
        .map(|(reasons, (name, count))| match count {
            1 => format!("{name}: {reasons}"),
            2 => format!("{name} (and 1 other pod): {reasons}"),
            count => format!("{name} (and {} other pods): {reasons}", count - 1),
        });
    let mut told: Vec<String> = told.collect();
    told.sort();
    warnings.extend(told);
    warnings
}
