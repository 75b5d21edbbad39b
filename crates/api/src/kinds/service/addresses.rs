//! Rules of a Service's addresses, its own and those outside.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::ServiceSpec;

use super::validate::is_headless;
use crate::podspec::names;
use crate::podspec::path::{Errors, Given, Path};
use crate::podspec::scaled::SPEC;

/// Checks `clusterIP`, `clusterIPs` and the fields about address families.
pub fn validate(errors: &mut Errors, spec: &ServiceSpec) {
    if spec.type_.given() == "ExternalName" {
        return;
    }
    let at = SPEC.child("clusterIPs");
    let (first, all) = (spec.cluster_ip.given(), spec.cluster_ips.given());
    match (first, all) {
        ("", []) => {}
        ("", all) => {
            errors.invalid(at, all, "must be empty when `clusterIP` is not specified");
        }
        (_, []) => errors.required(at, ""),
        (first, all) if all[0] != first => {
            errors.invalid(at, all, "first value must match `clusterIP`");
        }
        _ => {}
    }
    let families_at = SPEC.child("ipFamilies");
    let families = spec.ip_families.given();
    for (i, family) in families.iter().enumerate() {
        errors.one_of_if(families_at.index(i), Some(family), &["IPv4", "IPv6"]);
        if families[..i].contains(family) {
            errors.duplicate(families_at.index(i), family.as_str());
        }
    }
    let policy_at = SPEC.child("ipFamilyPolicy");
    let policies = &["PreferDualStack", "RequireDualStack", "SingleStack"];
    errors.one_of_if(policy_at, spec.ip_family_policy.as_deref(), policies);
    let before = errors.0.len();
    for (i, address) in all.iter().enumerate() {
        if i == 0 && address == "None" {
            if all.len() > 1 {
                errors.invalid(at, all, "'None' must be the first and only value");
            }
        } else {
            names::ip(errors, at.index(i), address);
        }
    }
    if all.len() > 2 {
        errors.invalid(at, all, "may only hold up to 2 values");
    }
    if errors.0.len() == before {
        one_family(errors, spec, all, families);
    }
}

/// The cluster has addresses of IPv4 only.
fn one_family(errors: &mut Errors, spec: &ServiceSpec, all: &[String], families: &[String]) {
    let is_v6 = |address: &String| matches!(address.parse(), Ok(IpAddr::V6(_)));
    let at = SPEC.child("clusterIPs");
    if let [one, other] = all
        && is_v6(one) == is_v6(other)
    {
        errors.invalid(
            at,
            all,
            "may specify no more than one IP for each IP family",
        );
    }
    for (i, (address, family)) in all.iter().zip(families).enumerate() {
        if address != "None" && is_v6(address) != (family == "IPv6") {
            let detail = format!("expected an {family} value as indicated by `ipFamilies[{i}]`");
            errors.invalid(at.index(i), address.as_str(), detail);
        }
    }
    if is_headless(spec)
        && spec
            .selector
            .as_ref()
            .is_none_or(|selector| selector.is_empty())
    {
        return;
    }
    let families_at = SPEC.child("ipFamilies");
    for (i, family) in families
        .iter()
        .enumerate()
        .filter(|(_, family)| *family == "IPv6")
    {
        errors.invalid(
            families_at.index(i),
            family.as_str(),
            "not configured on this cluster",
        );
    }
    if spec.ip_family_policy.given() == "RequireDualStack" {
        let detail = "this cluster is not configured for dual-stack services";
        errors.invalid(SPEC.child("ipFamilyPolicy"), "RequireDualStack", detail);
    }
}

/// Checks an outside address, refusing those that cannot be routed.
pub fn external_ip(errors: &mut Errors, at: Path<'_>, address: &str) {
    let before = errors.0.len();
    names::ip(errors, at, address);
    let Ok(ip) = address.parse::<IpAddr>() else {
        return;
    };
    debug_assert_eq!(errors.0.len(), before);
    if ip.is_unspecified() {
        errors.invalid(at, address, format!("may not be unspecified ({address})"));
    }
    if ip.is_loopback() {
        let detail = "may not be in the loopback range (127.0.0.0/8, ::1/128)";
        errors.invalid(at, address, detail);
    }
    let (link_local, link_local_multicast) = match ip {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), v6.segments()[0] == 0xff02),
    };
    if link_local {
        let detail = "may not be in the link-local range (169.254.0.0/16, fe80::/10)";
        errors.invalid(at, address, detail);
    }
    if link_local_multicast {
        let detail = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)";
        errors.invalid(at, address, detail);
    }
}
