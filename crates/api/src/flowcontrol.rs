//! The flow schemas and priority levels that a cluster has from the start (upstream `flowcontrol/bootstrap`).
//!
//! Two of each are mandatory: they can be neither changed nor done without. The others are suggested.

pub mod classify;

use serde_json::{Value, json};

/// The name of the schema and of the level whose requests nothing holds up.
pub const EXEMPT: &str = "exempt";
const CATCH_ALL: &str = "catch-all";
/// The annotation of objects whose specs the server keeps as they are here.
pub const AUTO_UPDATE: &str = "apf.kubernetes.io/autoupdate-spec";

const MANAGER: &str = "system:kube-controller-manager";
const SCHEDULER: &str = "system:kube-scheduler";
const NODES: &str = "system:nodes";
const AUTHENTICATED: [&str; 2] = ["system:unauthenticated", "system:authenticated"];

/// An object of either kind: its name and spec.
pub type Named = (&'static str, Value);

/// All priority levels, the mandatory ones first.
pub fn priority_levels() -> Vec<Named> {
    let exempt = json!({
        "type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0},
    });
    let rejecting = json!({"type": "Limited", "limited": {
        "nominalConcurrencyShares": 5, "lendablePercent": 0, "limitResponse": {"type": "Reject"},
    }});
    vec![
        (EXEMPT, exempt),
        (CATCH_ALL, rejecting),
        ("system", queuing(30, 33, 64, 6)),
        ("node-high", queuing(40, 25, 64, 6)),
        ("leader-election", queuing(10, 0, 16, 4)),
        ("workload-high", queuing(40, 50, 128, 6)),
        ("workload-low", queuing(100, 90, 128, 6)),
        ("global-default", queuing(20, 50, 128, 6)),
    ]
}

fn queuing(shares: i32, lendable_percent: i32, queues: i32, hand_size: i32) -> Value {
    json!({"type": "Limited", "limited": {
        "nominalConcurrencyShares": shares,
        "lendablePercent": lendable_percent,
        "limitResponse": {"type": "Queue", "queuing": {
            "queues": queues, "handSize": hand_size, "queueLengthLimit": 50,
        }},
    }})
}

/// All flow schemas, the mandatory ones first.
pub fn flow_schemas() -> Vec<Named> {
    let mut schemas = vec![
        schema(
            EXEMPT,
            EXEMPT,
            1,
            "",
            everything(groups(&["system:masters"])),
        ),
        schema(
            CATCH_ALL,
            CATCH_ALL,
            10_000,
            "ByUser",
            everything(groups(&AUTHENTICATED)),
        ),
    ];
    schemas.extend(of_nodes_and_probes());
    schemas.extend(of_elections());
    schemas.extend(of_workloads());
    schemas
}

fn of_nodes_and_probes() -> [Named; 3] {
    let leases = rule(&["*"], "coordination.k8s.io", &["leases"], false);
    let nodes = rule(&["*"], "", &["nodes", "nodes/status"], true);
    let probes = json!([{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}]);
    [
        schema(
            "system-nodes",
            "system",
            500,
            "ByUser",
            everything(groups(&[NODES])),
        ),
        schema(
            "system-node-high",
            "node-high",
            400,
            "ByUser",
            json!({"subjects": groups(&[NODES]), "resourceRules": [nodes, leases]}),
        ),
        schema(
            "probes",
            EXEMPT,
            2,
            "",
            json!({"subjects": groups(&AUTHENTICATED), "nonResourceRules": probes}),
        ),
    ]
}

fn of_elections() -> [Named; 3] {
    const VERBS: [&str; 3] = ["get", "create", "update"];
    let leases = rule(&VERBS, "coordination.k8s.io", &["leases"], false);
    let leaders = both(users(&[MANAGER, SCHEDULER]), accounts(&["*"]));
    let endpoints = both(
        users(&[MANAGER]),
        accounts(&["endpoint-controller", "endpointslicemirroring-controller"]),
    );
    let objects = rule(&VERBS, "", &["endpoints", "configmaps"], false);
    [
        schema(
            "system-leader-election",
            "leader-election",
            100,
            "ByUser",
            json!({"subjects": leaders, "resourceRules": [leases]}),
        ),
        schema(
            "endpoint-controller",
            "workload-high",
            150,
            "ByUser",
            json!({
                "subjects": endpoints,
                "resourceRules": [rule(&VERBS, "", &["endpoints"], false)],
            }),
        ),
        schema(
            "workload-leader-election",
            "leader-election",
            200,
            "ByUser",
            json!({"subjects": accounts(&["*"]), "resourceRules": [objects, leases]}),
        ),
    ]
}

fn of_workloads() -> [Named; 5] {
    let high = |name, precedence, subjects| {
        let rules = everything(subjects);
        schema(name, "workload-high", precedence, "ByNamespace", rules)
    };
    [
        high("kube-controller-manager", 800, users(&[MANAGER])),
        high("kube-scheduler", 800, users(&[SCHEDULER])),
        high("kube-system-service-accounts", 900, accounts(&["*"])),
        schema(
            "service-accounts",
            "workload-low",
            9000,
            "ByUser",
            everything(groups(&["system:serviceaccounts"])),
        ),
        schema(
            "global-default",
            "global-default",
            9900,
            "ByUser",
            everything(groups(&AUTHENTICATED)),
        ),
    ]
}

fn schema(
    name: &'static str,
    level: &str,
    precedence: i32,
    distinguisher: &str,
    rules: Value,
) -> Named {
    let mut spec = json!({
        "priorityLevelConfiguration": {"name": level},
        "matchingPrecedence": precedence,
        "rules": [rules],
    });
    if !distinguisher.is_empty() {
        spec["distinguisherMethod"] = json!({"type": distinguisher});
    }
    (name, spec)
}

fn groups(names: &[&str]) -> Value {
    let one = |name: &&str| json!({"kind": "Group", "group": {"name": name}});
    names.iter().map(one).collect()
}

fn users(names: &[&str]) -> Value {
    let one = |name: &&str| json!({"kind": "User", "user": {"name": name}});
    names.iter().map(one).collect()
}

/// Service accounts of `kube-system`.
fn accounts(names: &[&str]) -> Value {
    let one = |name: &&str| {
        let account = json!({"name": name, "namespace": "kube-system"});
        json!({"kind": "ServiceAccount", "serviceAccount": account})
    };
    names.iter().map(one).collect()
}

fn both(one: Value, other: Value) -> Value {
    let lists = [one, other].into_iter();
    lists
        .flat_map(|list| list.as_array().cloned().unwrap_or_default())
        .collect()
}

fn rule(verbs: &[&str], group: &str, resources: &[&str], cluster_scope: bool) -> Value {
    let mut rule = json!({
        "verbs": verbs, "apiGroups": [group], "resources": resources, "namespaces": ["*"],
    });
    if cluster_scope {
        rule["clusterScope"] = json!(true);
    }
    rule
}

/// All requests of these subjects.
fn everything(subjects: Value) -> Value {
    json!({
        "subjects": subjects,
        "resourceRules": [rule(&["*"], "*", &["*"], true)],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    })
}

fn mandatory(name: &str, all: fn() -> Vec<Named>) -> Option<Value> {
    if !matches!(name, EXEMPT | CATCH_ALL) {
        return None;
    }
    let mut all = all().into_iter();
    all.find(|(known, _)| *known == name).map(|(_, spec)| spec)
}

/// The spec that the mandatory flow schema of that name has.
pub fn mandatory_flow_schema(name: &str) -> Option<Value> {
    mandatory(name, flow_schemas)
}

/// The spec that the mandatory priority level of that name has.
pub fn mandatory_priority_level(name: &str) -> Option<Value> {
    mandatory(name, priority_levels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::{flow_schema, priority_level_configuration, testing::created};

    #[test]
    fn all_of_them_are_valid_as_they_are() {
        for (kind, objects) in [
            (&flow_schema::KIND, flow_schemas()),
            (&priority_level_configuration::KIND, priority_levels()),
        ] {
            for (name, spec) in objects {
                let object = created(kind, &json!({"metadata": {"name": name}, "spec": spec}));
                assert_eq!(object["spec"], spec, "{name} needs no defaults");
                assert_eq!(kind.validate(&object, None), [], "{name}");
            }
        }
    }

    #[test]
    fn each_schema_names_a_level() {
        let levels: Vec<&str> = priority_levels().iter().map(|(name, _)| *name).collect();
        for (name, spec) in flow_schemas() {
            let level = spec["priorityLevelConfiguration"]["name"].as_str().unwrap();
            assert!(levels.contains(&level), "{name}: {level}");
        }
    }
}
