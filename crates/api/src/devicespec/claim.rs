//! Requests for devices, what they have in common, and their configuration.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::resource::v1::{
    DeviceClaim, DeviceConstraint, DeviceRequest, DeviceSelector,
};
use serde_json::Value;

use super::config;
use super::names::{bounded, fully_qualified};
use crate::meta::names;
use crate::podspec::json::{Fields, child, each, or, or_zero};
use crate::podspec::path::{Errors, Given, Path};

const MAX_REQUESTS: usize = 32;
const MAX_ALTERNATIVES: usize = 8;
const MAX_CONSTRAINTS: usize = 32;
pub(super) const MAX_CONFIGS: usize = 32;
const MAX_SELECTORS: usize = 32;
const MAX_EXPRESSION_BYTES: usize = 10 * 1024;
const WRONG_REFERENCE: &str = "must be the name of a request in the claim or the name of a request and a subrequest \
                               separated by '/'";

/// Defaults of a claim's spec.
pub fn default(spec: &mut Fields) {
    let Some(devices) = child(spec, "devices") else {
        return;
    };
    for request in each(devices, "requests") {
        if let Some(exactly) = child(request, "exactly") {
            default_count(exactly);
        }
        each(request, "firstAvailable").for_each(default_count);
    }
}

fn default_count(request: &mut Fields) {
    or(request, "allocationMode", "ExactCount");
    if request["allocationMode"] == "ExactCount" {
        or_zero(request, "count", 1);
    }
}

/// Drops what belongs to features that are off.
pub fn drop_disabled(spec: &mut Fields) {
    let Some(devices) = child(spec, "devices") else {
        return;
    };
    let drop = |request: &mut Fields| {
        request.remove("tolerations");
        request.remove("capacity");
    };
    for request in each(devices, "requests") {
        if let Some(exactly) = child(request, "exactly") {
            drop(exactly);
        }
        each(request, "firstAvailable").for_each(drop);
    }
    for constraint in each(devices, "constraints") {
        constraint.remove("distinctAttribute");
    }
}

/// The names of requests, and of the alternatives of each.
pub struct Requests<'a>(BTreeMap<&'a str, BTreeSet<&'a str>>);

impl<'a> Requests<'a> {
    /// Those of a claim.
    pub fn of(claim: &'a DeviceClaim) -> Self {
        let one = |request: &'a DeviceRequest| {
            let alternatives = request.first_available.given().iter();
            let names = alternatives.map(|one| one.name.as_str()).collect();
            (request.name.as_str(), names)
        };
        Self(claim.requests.given().iter().map(one).collect())
    }

    fn has(&self, reference: &str) -> bool {
        match reference.split_once('/') {
            None => self.0.contains_key(reference),
            Some((request, alternative)) => self
                .0
                .get(request)
                .is_some_and(|names| names.contains(alternative)),
        }
    }

    /// Checks a reference to a request.
    pub fn validate(&self, errors: &mut Errors, at: Path<'_>, reference: &str) {
        if reference.split('/').count() > 2 {
            return errors.invalid(at, reference, WRONG_REFERENCE);
        }
        for segment in reference.split('/') {
            errors.invalid_each(at, segment, names::dns1123_label(segment));
        }
        if !self.has(reference) {
            errors.invalid(at, reference, WRONG_REFERENCE);
        }
    }

    /// Checks a list of references.
    pub fn validate_all(&self, errors: &mut Errors, at: &Path<'_>, references: &[String]) {
        if !bounded(errors, *at, references.len(), MAX_REQUESTS) {
            return;
        }
        for (i, reference) in references.iter().enumerate() {
            self.validate(errors, at.index(i), reference);
        }
        for (i, reference) in references.iter().enumerate() {
            if references[..i].contains(reference) {
                errors.duplicate(at.index(i), reference.as_str());
            }
        }
    }
}

/// Checks a claim's devices.
pub fn validate(errors: &mut Errors, at: &Path<'_>, claim: &DeviceClaim) {
    let known = Requests::of(claim);
    let requests = claim.requests.given();
    let list = at.child("requests");
    if bounded(errors, list, requests.len(), MAX_REQUESTS) {
        for (i, found) in requests.iter().enumerate() {
            request(errors, &list.index(i), found);
        }
        unique(errors, &list, requests.iter().map(|one| one.name.as_str()));
    }
    let list = at.child("constraints");
    let constraints = claim.constraints.given();
    if bounded(errors, list, constraints.len(), MAX_CONSTRAINTS) {
        for (i, found) in constraints.iter().enumerate() {
            constraint(errors, &list.index(i), found, &known);
        }
    }
    let list = at.child("config");
    let configs = claim.config.given();
    if bounded(errors, list, configs.len(), MAX_CONFIGS) {
        for (i, found) in configs.iter().enumerate() {
            let at = list.index(i);
            known.validate_all(errors, &at.child("requests"), found.requests.given());
            config::validate(errors, &at, found.opaque.as_ref(), false);
        }
    }
}

fn unique<'a>(errors: &mut Errors, at: &Path<'_>, names: impl Iterator<Item = &'a str>) {
    let mut seen = BTreeSet::new();
    for (i, name) in names.enumerate() {
        if !seen.insert(name) {
            errors.duplicate(at.index(i), name);
        }
    }
}

fn request(errors: &mut Errors, at: &Path<'_>, request: &DeviceRequest) {
    const ONE: &str = "exactly one of `exactly` or `firstAvailable` is required";
    let name = request.name.as_str();
    errors.invalid_each(at.child("name"), name, names::dns1123_label(name));
    let alternatives = request.first_available.given();
    match (&request.exactly, alternatives) {
        (None, []) => errors.required(*at, ONE),
        (Some(exactly), []) => {
            let wanted = Wanted {
                class: &exactly.device_class_name,
                selectors: exactly.selectors.given(),
                mode: exactly.allocation_mode.given(),
                count: exactly.count.unwrap_or_default(),
            };
            wanted.validate(errors, &at.child("exactly"));
        }
        (Some(_), _) => {
            let detail = format!("{ONE}, but multiple fields are set");
            errors.invalid(*at, Value::Null, detail);
        }
        (None, alternatives) => {
            let list = at.child("firstAvailable");
            if !bounded(errors, list, alternatives.len(), MAX_ALTERNATIVES) {
                return;
            }
            for (i, one) in alternatives.iter().enumerate() {
                let at = list.index(i);
                errors.invalid_each(at.child("name"), &one.name, names::dns1123_label(&one.name));
                let wanted = Wanted {
                    class: &one.device_class_name,
                    selectors: one.selectors.given(),
                    mode: one.allocation_mode.given(),
                    count: one.count.unwrap_or_default(),
                };
                wanted.validate(errors, &at);
            }
            unique(
                errors,
                &list,
                alternatives.iter().map(|one| one.name.as_str()),
            );
        }
    }
}

/// What a request and an alternative of one have in common.
struct Wanted<'a> {
    class: &'a str,
    selectors: &'a [DeviceSelector],
    mode: &'a str,
    count: i64,
}

impl Wanted<'_> {
    fn validate(&self, errors: &mut Errors, at: &Path<'_>) {
        let class_at = at.child("deviceClassName");
        if self.class.is_empty() {
            errors.required(class_at, "");
        } else {
            errors.invalid_each(class_at, self.class, names::dns1123_subdomain(self.class));
        }
        selectors(errors, &at.child("selectors"), self.selectors);
        let count_at = at.child("count");
        match self.mode {
            "All" if self.count != 0 => {
                let detail = "must not be specified when allocationMode is 'All'";
                errors.invalid(count_at, self.count, detail);
            }
            "ExactCount" if self.count <= 0 => {
                errors.invalid(count_at, self.count, "must be greater than zero");
            }
            "All" | "ExactCount" => {}
            other => {
                let at = at.child("allocationMode");
                errors.not_supported(at, other, &["All", "ExactCount"]);
            }
        }
    }
}

/// Checks selectors of devices.
pub fn selectors(errors: &mut Errors, at: &Path<'_>, selectors: &[DeviceSelector]) {
    if !bounded(errors, *at, selectors.len(), MAX_SELECTORS) {
        return;
    }
    for (i, selector) in selectors.iter().enumerate() {
        let at = at.index(i);
        match &selector.cel {
            None => errors.required(at.child("cel"), ""),
            Some(cel) if cel.expression.len() > MAX_EXPRESSION_BYTES => {
                errors.too_long(at.child("cel.expression"), MAX_EXPRESSION_BYTES);
            }
            Some(_) => {}
        }
    }
}

fn constraint(
    errors: &mut Errors,
    at: &Path<'_>,
    constraint: &DeviceConstraint,
    known: &Requests<'_>,
) {
    known.validate_all(errors, &at.child("requests"), constraint.requests.given());
    match constraint.match_attribute.as_deref() {
        Some(name) => fully_qualified(errors, at.child("matchAttribute"), name),
        None => errors.required(at.child("matchAttribute"), ""),
    }
}
