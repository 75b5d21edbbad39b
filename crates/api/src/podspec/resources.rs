//! Validation of resource requirements, and the arithmetic on them that defaults and quality of service need.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{PodResourceClaim, ResourceClaim, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use super::names;
use super::path::{Errors, Given, Path};
use crate::quantity::Quantity;

type Amounts = BTreeMap<String, Text>;

/// Checks the requirements of a container.
pub fn validate(
    errors: &mut Errors,
    at: &Path<'_>,
    requirements: &ResourceRequirements,
    claims: &[PodResourceClaim],
) {
    let none = Amounts::new();
    let limits = requirements.limits.as_ref().unwrap_or(&none);
    let requests = requirements.requests.as_ref().unwrap_or(&none);
    let (limits_at, requests_at) = (at.child("limits"), at.child("requests"));
    for (name, amount) in limits {
        validate_amount(errors, limits_at.key(name), name, amount);
    }
    for (name, amount) in requests {
        validate_amount(errors, requests_at.key(name), name, amount);
        request_fits(
            errors,
            requests_at,
            limits_at,
            (name, amount),
            limits.get(name),
        );
    }
    let mut names = limits.keys().chain(requests.keys());
    if names.clone().any(|name| is_hugepages(name))
        && !names.any(|name| matches!(name.as_str(), "cpu" | "memory"))
    {
        errors.forbidden(*at, "HugePages require cpu or memory");
    }
    claim_names(
        errors,
        &at.child("claims"),
        requirements.claims.given(),
        claims,
    );
}

fn validate_amount(errors: &mut Errors, at: Path<'_>, name: &str, amount: &Text) {
    container_name(errors, at, name);
    self::amount(errors, at, name, amount);
}

/// The name of any resource; tells whether it is one.
pub fn name(errors: &mut Errors, at: Path<'_>, name: &str) -> bool {
    let malformed = names::qualified_name(name);
    if !malformed.is_empty() {
        errors.invalid_each(at, name, malformed);
        return false;
    }
    if !name.contains('/') && !is_standard(name) {
        let detail = "must be a standard resource type or fully qualified";
        errors.invalid(at, name, detail);
    }
    true
}

/// The name of a resource that containers ask for.
pub fn container_name(errors: &mut Errors, at: Path<'_>, name: &str) {
    self::name(errors, at, name);
    if !name.contains('/') {
        if !matches!(name, "cpu" | "memory" | "ephemeral-storage") && !is_hugepages(name) {
            errors.invalid(at, name, "must be a standard resource for containers");
        }
    } else if !is_native(name) && !is_extended(name) {
        errors.invalid(at, name, "doesn't follow extended resource name standard");
    }
}

/// The amount of a resource: not negative, and whole where the resource is counted.
pub fn amount(errors: &mut Errors, at: Path<'_>, name: &str, amount: &Text) {
    let Some(value) = parse(amount) else { return };
    if value.sign() < 0 {
        errors.invalid(at, value.to_string(), "must be greater than or equal to 0");
    }
    if (is_counted(name) || is_extended(name)) && !value.is_integer() {
        errors.invalid(at, value.to_string(), "must be an integer");
    }
}

/// Whether a resource is a number of objects.
pub fn is_counted(name: &str) -> bool {
    matches!(
        name,
        "pods"
            | "resourcequotas"
            | "services"
            | "replicationcontrollers"
            | "secrets"
            | "configmaps"
            | "persistentvolumeclaims"
            | "services.nodeports"
            | "services.loadbalancers"
    )
}

fn request_fits(
    errors: &mut Errors,
    requests_at: Path<'_>,
    limits_at: Path<'_>,
    (name, request): (&str, &Text),
    limit: Option<&Text>,
) {
    let overcommit = may_overcommit(name);
    let Some(limit) = limit else {
        if !overcommit {
            errors.required(
                limits_at,
                "Limit must be set for non overcommitable resources",
            );
        }
        return;
    };
    let (Some(request), Some(limit)) = (parse(request), parse(limit)) else {
        return;
    };
    let rule = if !overcommit && request != limit {
        "equal to"
    } else if request > limit {
        "less than or equal to"
    } else {
        return;
    };
    let detail = format!("must be {rule} {name} limit of {limit}");
    errors.invalid(requests_at, request.to_string(), detail);
}

fn claim_names(
    errors: &mut Errors,
    at: &Path<'_>,
    claims: &[ResourceClaim],
    pod_claims: &[PodResourceClaim],
) {
    let known: BTreeSet<&str> = pod_claims.iter().map(|claim| claim.name.as_str()).collect();
    let mut seen = BTreeSet::new();
    for (i, claim) in claims.iter().enumerate() {
        let at = at.index(i);
        if claim.name.is_empty() {
            errors.required(at, "");
            continue;
        }
        if !seen.insert((claim.name.as_str(), claim.request.given())) {
            errors.duplicate(at, claim.name.as_str());
        }
        if !known.contains(claim.name.as_str()) {
            errors.not_found(at, claim.name.as_str());
        }
    }
}

/// An amount as a number; amounts that are none were refused with the schema.
pub fn parse(amount: &Text) -> Option<Quantity> {
    amount.0.parse().ok()
}

/// Whether requests for a resource may stay below its limit.
pub fn may_overcommit(name: &str) -> bool {
    is_native(name) && !is_hugepages(name)
}

/// Whether a resource is memory in large pages.
pub fn is_hugepages(name: &str) -> bool {
    name.starts_with("hugepages-")
}

fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && names::qualified_name(&format!("requests.{name}")).is_empty()
}

fn is_standard(name: &str) -> bool {
    const STANDARD: &[&str] = &[
        "cpu",
        "memory",
        "ephemeral-storage",
        "storage",
        "pods",
        "requests.cpu",
        "requests.memory",
        "requests.storage",
        "requests.ephemeral-storage",
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "services.nodeports",
        "services.loadbalancers",
    ];
    STANDARD.contains(&name) || is_hugepages(name) || name.starts_with("requests.hugepages-")
}
