//! What of a Service may not change: addresses, families and the class of its balancer, once they are set.

use serde_json::Value;

use super::{is_headless, needs_health_check_node_port};
use crate::field_error::FieldError;
use crate::podspec::json::{int, list, text};
use crate::podspec::path::{Errors, Path};
use crate::podspec::scaled::SPEC;

const FIXED: &str = "may not change once set";

/// Rules of an update that compare with the old object.
pub fn validate(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let external = |service: &Value| text(service, "/spec/type") == "ExternalName";
    if !external(new) && !external(old) {
        if !(is_headless(new) && is_headless(old)) {
            fixed_list(&mut errors, new, old, "clusterIPs", "clusterIP");
        }
        if !is_headless(new) && !is_headless(old) {
            fixed_list(&mut errors, new, old, "ipFamilies", "ipFamily");
        }
    }
    let balanced = |service: &Value| text(service, "/spec/type") == "LoadBalancer";
    let class = |service: &Value| service["spec"]["loadBalancerClass"].clone();
    if balanced(new) && balanced(old) && class(new) != class(old) {
        errors.invalid(SPEC.child("loadBalancerClass"), class(new), FIXED);
    }
    let port = |service: &Value| int(service, "/spec/healthCheckNodePort");
    if needs_health_check_node_port(new)
        && needs_health_check_node_port(old)
        && port(new) != port(old)
    {
        errors.forbidden(SPEC.child("healthCheckNodePort"), "field is immutable");
    }
    errors.0
}

/// The first item stays for life; a second may come and, with a policy of one stack, go.
fn fixed_list(errors: &mut Errors, new: &Value, old: &Value, field: &str, one: &str) {
    let pointer = format!("/spec/{field}");
    let (now, before) = (list(new, &pointer), list(old, &pointer));
    let at = SPEC.child(field);
    let changed = |errors: &mut Errors, i: usize| {
        errors.invalid(at.index(i), now, FIXED);
    };
    if now.len() == before.len() {
        for (i, _) in now
            .iter()
            .zip(before)
            .enumerate()
            .filter(|(_, (now, before))| now != before)
        {
            changed(errors, i);
        }
        return;
    }
    if let (Some(now), Some(before)) = (now.first(), before.first())
        && now != before
    {
        changed(errors, 0);
    }
    if now.len() > before.len() {
        return;
    }
    if now.is_empty() {
        errors.invalid(at.index(0), now, format!("primary {one} can not be unset"));
    }
    let policy = text(new, "/spec/ipFamilyPolicy");
    if now.len() == 1 && policy != "SingleStack" {
        let detail = format!("must be set to 'SingleStack' when releasing the secondary {one}");
        errors.invalid(Path::root("spec.ipFamilyPolicy"), policy, detail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_address_is_fixed() {
        let service =
            |ip: &str| json!({"spec": {"type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip]}});
        let errors = validate(&service("10.96.0.8"), &service("10.96.0.7"));
        assert_eq!(
            errors[0].to_string(),
            "spec.clusterIPs[0]: Invalid value: [\"10.96.0.8\"]: may not change once set"
        );
        let mut external = service("10.96.0.8");
        external["spec"]["type"] = json!("ExternalName");
        assert_eq!(validate(&external, &service("10.96.0.7")), []);
    }
}
