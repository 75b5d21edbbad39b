//! ServiceCIDR (upstream `ValidateServiceCIDR`).

use k8s_openapi::api::networking::v1::{ServiceCIDR, ServiceCIDRSpec};
use serde_json::Value;

use crate::field_error::FieldError;
use crate::ip::{self, Cidr};
use crate::kind::{BuiltIn, Column, Hooks, Kind, Subresource};
use crate::meta::StatusMetadata;
use crate::podspec::json::typed;
use crate::podspec::path::{Errors, Given, to_value};
use crate::podspec::scaled::SPEC;
use crate::table;

/// ServiceCIDR.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "servicecidr",
    namespaced: false,
    subresources: &[Subresource::Status],
    status_metadata: StatusMetadata::Kept,
    columns: &[
        Column::NAME,
        Column::text(
            "CIDRs",
            "CIDRs defines the IP blocks in CIDR notation (e.g. \"192.168.0.0/24\" or \"2001:db8::/64\") from which \
             to assign service cluster IPs. Max of two CIDRs is allowed, one of each IP family. This field is \
             immutable.",
        ),
        Column::AGE,
    ],
    hooks: Hooks {
        validate,
        row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<ServiceCIDR>()
});

fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    const IMMUTABLE: &str = "field is immutable";
    let mut errors = Errors::default();
    let networks = |object: &Value| {
        let spec: ServiceCIDRSpec = typed(object.get("spec"));
        spec.cidrs.unwrap_or_default()
    };
    let new = networks(new);
    let at = SPEC.child("cidrs");
    let Some(old) = old else {
        check(&mut errors, &new);
        return errors.0;
    };
    let old = networks(old);
    match (old.len(), new.len()) {
        (before, now) if before == now || (before, now) == (1, 2) => {
            for (i, (old, new)) in old.iter().zip(&new).enumerate() {
                if old != new {
                    errors.invalid(at.index(i), new.as_str(), IMMUTABLE);
                }
            }
            // A second family may join later.
            if before != now {
                check(&mut errors, &new);
            }
        }
        _ => errors.invalid(at, new, IMMUTABLE),
    }
    errors.0
}

fn check(errors: &mut Errors, networks: &[String]) {
    let at = SPEC.child("cidrs");
    match networks.len() {
        0 => return errors.required(at, "at least one CIDR required"),
        1 | 2 => {}
        _ => {
            let spec = ServiceCIDRSpec {
                cidrs: Some(networks.to_vec()),
            };
            return errors.invalid(at, to_value(&spec), "may only hold up to 2 values");
        }
    }
    for (i, network) in networks.iter().enumerate() {
        errors.invalid_each(at.index(i), network, ip::strict_cidr_messages(network));
    }
    if let [one, other] = networks
        && let (Some(one), Some(other)) = (Cidr::parse(one), Cidr::parse(other))
        && one.network.is_ipv4() == other.network.is_ipv4()
    {
        let detail = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        errors.invalid(at, networks, detail);
    }
}

fn row(cidr: &Value, now_unix_ms: u64) -> Vec<Value> {
    let spec: ServiceCIDRSpec = typed(cidr.get("spec"));
    vec![
        table::name(cidr),
        spec.cidrs.given().join(",").into(),
        table::age(cidr, now_unix_ms),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_creates, check_updates, created};
    use super::*;
    use serde_json::json;

    #[test]
    fn broken_rules_are_told_in_upstreams_words() {
        let cidr = json!({"spec": {"cidrs": ["10.96.0.0/16"]}});
        check_creates(
            &KIND,
            &cidr,
            &[
                (
                    "/spec/cidrs",
                    json!([]),
                    "spec.cidrs: Required value: at least one CIDR required",
                ),
                (
                    "/spec/cidrs",
                    json!(["10.96.0.0/16", "::/64", "10.0.0.0/8"]),
                    "spec.cidrs: Invalid value: {\"cidrs\":[\"10.96.0.0/16\",\"::/64\",\"10.0.0.0/8\"]}: may only \
                     hold up to 2 values",
                ),
                (
                    "/spec/cidrs/0",
                    json!("10.96.0.1/16"),
                    "spec.cidrs[0]: Invalid value: \"10.96.0.1/16\": must not have bits set beyond the prefix length",
                ),
                (
                    "/spec/cidrs",
                    json!(["10.96.0.0/16", "10.97.0.0/16"]),
                    "spec.cidrs: Invalid value: [\"10.96.0.0/16\",\"10.97.0.0/16\"]: may specify no more than one IP \
                     for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64",
                ),
            ],
        );
        check_updates(
            &KIND,
            &cidr,
            &[
                (
                    "/spec/cidrs/0",
                    json!("10.97.0.0/16"),
                    "spec.cidrs[0]: Invalid value: \"10.97.0.0/16\": field is immutable",
                ),
                ("/spec/cidrs", json!(["10.96.0.0/16", "2001:db8::/112"]), ""),
                (
                    "/spec/cidrs",
                    json!([]),
                    "spec.cidrs: Invalid value: []: field is immutable",
                ),
            ],
        );
        assert_eq!(row(&created(&KIND, &cidr), 0)[1], "10.96.0.0/16");
    }
}
