//! NetworkPolicy (upstream `ValidateNetworkPolicy`).

use std::collections::BTreeSet;

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};

use crate::field_error::FieldError;
use crate::ip::{self, Cidr};
use crate::kind::{BuiltIn, Column, Hooks, Kind};
use crate::meta::names;
use crate::podspec::json::{Fields, each, ensure, into_object, list, or_pointer, text, typed};
use crate::podspec::path::{Errors, Given, Path};
use crate::podspec::scaled::SPEC;
use crate::podspec::selectors;
use crate::table;

const PROTOCOLS: &[&str] = &["TCP", "UDP", "SCTP"];
const TYPES: &[&str] = &["Ingress", "Egress"];
/// The two directions: the list of rules, and of peers in a rule.
const DIRECTIONS: [(&str, &str); 2] = [("ingress", "from"), ("egress", "to")];

/// NetworkPolicy.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "networkpolicy",
    short_names: &["netpol"],
    columns: &[
        Column::NAME,
        Column::text(
            "Pod-Selector",
            "Selects the pods to which this NetworkPolicy object applies.",
        ),
        Column::AGE,
    ],
    counts_generation: true,
    hooks: Hooks {
        default,
        validate,
        warnings,
        row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<NetworkPolicy>()
});

fn default(policy: &mut Value) {
    let spec = ensure(into_object(policy), "spec");
    for (rules, _) in DIRECTIONS {
        for rule in each(spec, rules) {
            for port in each(rule, "ports") {
                or_pointer(port, "protocol", "TCP");
            }
        }
    }
    let is_empty = |fields: &Fields, key: &str| {
        fields
            .get(key)
            .and_then(Value::as_array)
            .is_none_or(Vec::is_empty)
    };
    if is_empty(spec, "policyTypes") {
        let types = match is_empty(spec, "egress") {
            true => json!(["Ingress"]),
            false => json!(["Ingress", "Egress"]),
        };
        spec.insert("policyTypes".to_owned(), types);
    }
    ensure(spec, "podSelector");
}

fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let spec: NetworkPolicySpec = typed(new.get("spec"));
    // A network that stands in the old policy stays allowed wherever it stands now.
    let known: BTreeSet<&str> = old.into_iter().flat_map(networks).collect();
    selectors::validate(
        &mut errors,
        &SPEC.child("podSelector"),
        spec.pod_selector.as_ref(),
    );
    let list = SPEC.child("ingress");
    for (i, rule) in spec.ingress.given().iter().enumerate() {
        let at = list.index(i);
        ports(&mut errors, &at.child("ports"), rule.ports.given());
        peers(&mut errors, &at.child("from"), rule.from.given(), &known);
    }
    let list = SPEC.child("egress");
    for (i, rule) in spec.egress.given().iter().enumerate() {
        let at = list.index(i);
        ports(&mut errors, &at.child("ports"), rule.ports.given());
        peers(&mut errors, &at.child("to"), rule.to.given(), &known);
    }
    let types = spec.policy_types.given();
    let at = SPEC.child("policyTypes");
    if types.len() > TYPES.len() {
        errors.invalid(at, types, "may not specify more than two policyTypes");
        return errors.0;
    }
    for (i, kind) in types.iter().enumerate() {
        errors.one_of_if(at.index(i), Some(kind), TYPES);
    }
    errors.0
}

/// All networks that a policy names.
fn networks(policy: &Value) -> impl Iterator<Item = &str> {
    let blocks = blocks(policy).map(|(_, block)| block);
    blocks.flat_map(|block| {
        let except = list(block, "/except").iter().filter_map(Value::as_str);
        except.chain([text(block, "/cidr")])
    })
}

/// The blocks of a policy's peers and their paths.
fn blocks(policy: &Value) -> impl Iterator<Item = (String, &Value)> {
    DIRECTIONS.into_iter().flat_map(move |(rules, peers)| {
        let rules_of = list(policy, &format!("/spec/{rules}")).iter().enumerate();
        rules_of.flat_map(move |(i, rule)| {
            let peers_of = list(rule, &format!("/{peers}")).iter().enumerate();
            peers_of.filter_map(move |(j, peer)| {
                let block = peer.get("ipBlock")?;
                Some((format!("spec.{rules}[{i}].{peers}[{j}].ipBlock"), block))
            })
        })
    })
}

fn ports(errors: &mut Errors, at: &Path<'_>, ports: &[NetworkPolicyPort]) {
    for (i, port) in ports.iter().enumerate() {
        let at = at.index(i);
        errors.one_of_if(at.child("protocol"), port.protocol.as_deref(), PROTOCOLS);
        let (port_at, end_at) = (at.child("port"), at.child("endPort"));
        match (&port.port, port.end_port) {
            (Some(IntOrString::Int(number)), end) => {
                for message in names::port_number((*number).into()) {
                    errors.invalid(port_at, *number, message);
                }
                let Some(end) = end else { continue };
                if end < *number {
                    errors.invalid(end_at, end, "must be greater than or equal to `port`");
                }
                for message in names::port_number(end.into()) {
                    errors.invalid(end_at, end, message);
                }
            }
            (Some(IntOrString::String(name)), end) => {
                if let Some(end) = end {
                    let detail = "may not be specified when `port` is non-numeric";
                    errors.invalid(end_at, end, detail);
                }
                errors.invalid_each(port_at, name, names::port_name(name));
            }
            (None, Some(end)) => {
                let detail = "may not be specified when `port` is not specified";
                errors.invalid(end_at, end, detail);
            }
            (None, None) => {}
        }
    }
}

fn peers(errors: &mut Errors, at: &Path<'_>, peers: &[NetworkPolicyPeer], known: &BTreeSet<&str>) {
    for (i, peer) in peers.iter().enumerate() {
        let at = at.index(i);
        let (pods, namespaces) = (&peer.pod_selector, &peer.namespace_selector);
        selectors::validate(errors, &at.child("podSelector"), pods.as_ref());
        selectors::validate(errors, &at.child("namespaceSelector"), namespaces.as_ref());
        if let Some(block) = &peer.ip_block {
            ip_block(errors, &at.child("ipBlock"), block, known);
        }
        let selects = pods.is_some() || namespaces.is_some();
        match (selects, peer.ip_block.is_some()) {
            (false, false) => errors.required(at, "must specify a peer"),
            (true, true) => errors.forbidden(at, "may not specify both ipBlock and another peer"),
            _ => {}
        }
    }
}

fn ip_block(errors: &mut Errors, at: &Path<'_>, block: &IPBlock, known: &BTreeSet<&str>) {
    let network = |errors: &mut Errors, at: Path<'_>, text: &str| match known.contains(text) {
        true => Cidr::parse(text),
        false => ip::legacy_cidr(errors, at, text),
    };
    let cidr_at = at.child("cidr");
    if block.cidr.is_empty() {
        return errors.required(cidr_at, "");
    }
    let Some(whole) = network(errors, cidr_at, &block.cidr) else {
        return;
    };
    let list = at.child("except");
    for (i, text) in block.except.given().iter().enumerate() {
        let Some(part) = network(errors, list.index(i), text) else {
            continue;
        };
        if !whole.contains(part.network) || whole.prefix >= part.prefix {
            errors.invalid(
                list.index(i),
                text.as_str(),
                "must be a strict subset of `cidr`",
            );
        }
    }
}

fn warnings(new: &Value, old: Option<&Value>) -> Vec<String> {
    let known: BTreeSet<&str> = old.into_iter().flat_map(networks).collect();
    let mut warnings = Vec::new();
    for (path, block) in blocks(new) {
        let mut warn = |path: String, network: &str| {
            if !known.contains(network) {
                warnings.extend(ip::cidr_warnings(&path, network));
            }
        };
        warn(format!("{path}.cidr"), text(block, "/cidr"));
        for (i, network) in list(block, "/except").iter().enumerate() {
            let network = network.as_str().unwrap_or_default();
            warn(format!("{path}.except[{i}]"), network);
        }
    }
    warnings
}

fn row(policy: &Value, now_unix_ms: u64) -> Vec<Value> {
    let selector = typed(policy.pointer("/spec/podSelector"));
    vec![
        table::name(policy),
        selectors::cell(Some(&selector)).into(),
        table::age(policy, now_unix_ms),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_creates, check_updates, created};
    use super::*;

    fn policy() -> Value {
        json!({"spec": {
            "podSelector": {"matchLabels": {"app": "db"}},
            "ingress": [{
                "from": [{"ipBlock": {"cidr": "10.0.0.0/16", "except": ["10.0.1.0/24"]}}],
                "ports": [{"port": 80}],
            }],
        }})
    }

    #[test]
    fn policies_are_filled_in() {
        let mut policy = created(&KIND, &policy());
        let spec = &policy["spec"];
        assert_eq!(spec["policyTypes"], json!(["Ingress"]));
        assert_eq!(spec["ingress"][0]["ports"][0]["protocol"], "TCP");
        assert_eq!(row(&policy, 0)[1], "app=db");
        policy["spec"] = json!({"egress": [{}]});
        default(&mut policy);
        assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
        assert_eq!(row(&policy, 0)[1], "<none>");
    }

    #[test]
    fn broken_rules_are_told_in_upstreams_words() {
        const CIDR: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
        check_creates(
            &KIND,
            &policy(),
            &[
                (
                    "/spec/ingress/0/ports/0/protocol",
                    json!("ICMP"),
                    "spec.ingress[0].ports[0].protocol: Unsupported value: \"ICMP\": supported values: \"TCP\", \
                     \"UDP\", \"SCTP\"",
                ),
                (
                    "/spec/ingress/0/ports/0/port",
                    json!(0),
                    "spec.ingress[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                ),
                (
                    "/spec/ingress/0/ports/0/endPort",
                    json!(79),
                    "spec.ingress[0].ports[0].endPort: Invalid value: 79: must be greater than or equal to `port`",
                ),
                (
                    "/spec/ingress/0/ports/0",
                    json!({"endPort": 79}),
                    "spec.ingress[0].ports[0].endPort: Invalid value: 79: may not be specified when `port` is not \
                     specified",
                ),
                (
                    "/spec/ingress/0/from/0",
                    json!({}),
                    "spec.ingress[0].from[0]: Required value: must specify a peer",
                ),
                (
                    "/spec/ingress/0/from/0/podSelector",
                    json!({}),
                    "spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer",
                ),
                (
                    "/spec/ingress/0/from/0/ipBlock/cidr",
                    json!(""),
                    "spec.ingress[0].from[0].ipBlock.cidr: Required value",
                ),
                (
                    "/spec/ingress/0/from/0/ipBlock/cidr",
                    json!("10.0.0.0"),
                    &format!(
                        "spec.ingress[0].from[0].ipBlock.cidr: Invalid value: \"10.0.0.0\": {CIDR}"
                    ),
                ),
                (
                    "/spec/ingress/0/from/0/ipBlock/except/0",
                    json!("10.0.0.0/16"),
                    "spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: \"10.0.0.0/16\": must be a strict \
                     subset of `cidr`",
                ),
                (
                    "/spec/policyTypes",
                    json!(["Sideways"]),
                    "spec.policyTypes[0]: Unsupported value: \"Sideways\": supported values: \"Ingress\", \"Egress\"",
                ),
                (
                    "/spec/egress",
                    json!([{"to": [{"namespaceSelector": {"matchLabels": {"a b": ""}}}]}]),
                    "spec.egress[0].to[0].namespaceSelector.matchLabels: Invalid value: \"a b\": name part must \
                     consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
                     character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
                     '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
                ),
            ],
        );
        check_updates(
            &KIND,
            &policy(),
            &[
                (
                    "/spec/ingress/0/from/0/ipBlock/cidr",
                    json!("10.0.0.0/20"),
                    "",
                ),
                ("/spec/policyTypes", json!(["Ingress", "Egress"]), ""),
            ],
        );
    }

    #[test]
    fn odd_networks_are_warned_of_once() {
        let mut policy = policy();
        policy["spec"]["ingress"][0]["from"][0]["ipBlock"]["cidr"] = json!("10.0.0.1/16");
        assert_eq!(
            warnings(&policy, None),
            [
                "spec.ingress[0].from[0].ipBlock.cidr: CIDR value \"10.0.0.1/16\" is ambiguous in this context \
                 (should be \"10.0.0.0/16\" or \"10.0.0.1/32\"?)"
            ]
        );
        assert_eq!(warnings(&policy, Some(&policy)), [""; 0]);
    }

    #[test]
    fn changes_count_as_generations() {
        let old = created(&KIND, &policy());
        let mut new = old.clone();
        new["spec"]["podSelector"] = json!({});
        KIND.prepare_update(&mut new, &old);
        assert_eq!(new["metadata"]["generation"], 2);
    }
}
