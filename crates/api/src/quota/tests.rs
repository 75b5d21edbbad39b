//! Tables: what objects use, what fits, and which scopes cover what.

use serde_json::json;

use super::*;

const NOW_MS: u64 = 1_767_225_600_000;

fn quota(spec: Value, hard: Value, used: Value) -> ResourceQuota {
    let quota =
        json!({"metadata": {"name": "q"}, "spec": spec, "status": {"hard": hard, "used": used}});
    serde_json::from_value(quota).unwrap()
}

fn told(amounts: &Amounts) -> String {
    let told = amounts
        .iter()
        .map(|(name, amount)| format!("{name}={amount}"));
    told.collect::<Vec<_>>().join(" ")
}

fn create(quotas: &[ResourceQuota], resource: &str, object: &Value) -> Result<Vec<Charge>, String> {
    update(quotas, resource, object, None)
}

fn update(
    quotas: &[ResourceQuota],
    resource: &str,
    new: &Value,
    old: Option<&Value>,
) -> Result<Vec<Charge>, String> {
    let new = Owned::of(resource, new);
    let old = old.map(|old| Owned::of(resource, old));
    let change = Change {
        new: new.subject(),
        old: old.as_ref().map(Owned::subject),
    };
    let quotas: Vec<&ResourceQuota> = quotas.iter().collect();
    charge(&quotas, &change, NOW_MS)
}

fn pod(requests: Value, limits: Value) -> Value {
    json!({"spec": {"containers": [{"name": "a", "resources": {"requests": requests, "limits": limits}}]}})
}

#[test]
fn objects_use_what_upstream_counts() {
    for (resource, object, expected) in [
        (
            "pods",
            pod(
                json!({"cpu": "1", "example.com/gpu": "2", "hugepages-2Mi": "4Mi"}),
                json!({"cpu": "2", "memory": "1Gi"}),
            ),
            "count/pods=1 cpu=1 hugepages-2Mi=4Mi limits.cpu=2 limits.memory=1Gi pods=1 requests.cpu=1 \
             requests.example.com/gpu=2 requests.hugepages-2Mi=4Mi",
        ),
        (
            "pods",
            json!({"spec": {"containers": []}, "status": {"phase": "Succeeded"}}),
            "count/pods=1",
        ),
        (
            "pods",
            json!({"metadata": {"deletionTimestamp": "2025-12-31T23:59:00Z", "deletionGracePeriodSeconds": 30},
                "spec": {"containers": []}}),
            "count/pods=1",
        ),
        (
            "services",
            json!({"spec": {"type": "ClusterIP", "ports": [{"port": 1}]}}),
            "count/services=1 services=1 services.loadbalancers=0 services.nodeports=0",
        ),
        (
            "services",
            json!({"spec": {"type": "LoadBalancer", "ports": [{"port": 1}, {"port": 2}]}}),
            "count/services=1 services=1 services.loadbalancers=1 services.nodeports=2",
        ),
        (
            "services",
            json!({"spec": {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false,
                "ports": [{"port": 1, "nodePort": 30000}, {"port": 2}]}}),
            "count/services=1 services=1 services.loadbalancers=1 services.nodeports=1",
        ),
        (
            "persistentvolumeclaims",
            json!({"spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "1500m"}}}}),
            "count/persistentvolumeclaims=1 gold.storageclass.storage.k8s.io/persistentvolumeclaims=1 \
             gold.storageclass.storage.k8s.io/requests.storage=2 persistentvolumeclaims=1 requests.storage=2",
        ),
        ("secrets", json!({}), "count/secrets=1 secrets=1"),
        ("jobs.batch", json!({}), "count/jobs.batch=1"),
    ] {
        let usage = Owned::of(resource, &object).subject().usage(NOW_MS);
        assert_eq!(told(&usage), expected, "{object}");
    }
}

#[test]
fn what_does_not_fit_is_refused_in_upstreams_words() {
    let quota = quota(
        json!({}),
        json!({"pods": "2", "requests.cpu": "1"}),
        json!({"pods": "1", "requests.cpu": "800m"}),
    );
    let quotas = [quota];
    let charges = create(&quotas, "pods", &pod(json!({"cpu": "200m"}), json!({}))).unwrap();
    assert_eq!(told(&charges[0].used), "pods=2 requests.cpu=1");
    assert_eq!(
        create(&quotas, "pods", &pod(json!({"cpu": "300m"}), json!({}))).unwrap_err(),
        "exceeded quota: q, requested: requests.cpu=300m, used: requests.cpu=800m, limited: requests.cpu=1"
    );
    assert_eq!(
        create(&quotas, "pods", &pod(json!({}), json!({}))).unwrap_err(),
        "failed quota: q: must specify requests.cpu for: a"
    );
    assert_eq!(create(&quotas, "secrets", &json!({})), Ok(Vec::new()));
}

#[test]
fn several_that_are_exceeded_are_told_together() {
    let quotas = [quota(
        json!({}),
        json!({"services": "1", "services.nodeports": "1", "services.loadbalancers": "5"}),
        json!({"services": "1", "services.nodeports": "0", "services.loadbalancers": "0"}),
    )];
    let service = json!({"spec": {"type": "NodePort", "ports": [{"port": 1}, {"port": 2}]}});
    assert_eq!(
        create(&quotas, "services", &service).unwrap_err(),
        "exceeded quota: q, requested: services=1,services.nodeports=2, used: services=1,services.nodeports=0, limited: \
         services=1,services.nodeports=1"
    );
}

#[test]
fn a_quota_that_was_not_counted_yet_refuses() {
    let uncounted = [quota(
        json!({}),
        json!({"pods": "2", "count/pods": "1"}),
        json!({}),
    )];
    assert_eq!(
        create(&uncounted, "pods", &pod(json!({}), json!({}))).unwrap_err(),
        "status unknown for quota: q, resources: count/pods,pods"
    );
    // Before the controller has seen it there is nothing that it limits.
    let unseen: ResourceQuota =
        serde_json::from_value(json!({"spec": {"hard": {"pods": "0"}}})).unwrap();
    assert_eq!(
        create(&[unseen], "pods", &pod(json!({}), json!({}))),
        Ok(Vec::new())
    );
}

#[test]
fn updates_cost_the_difference() {
    let quotas = [quota(
        json!({}),
        json!({"services.loadbalancers": "1", "services": "1"}),
        json!({"services.loadbalancers": "0", "services": "1"}),
    )];
    let of = |kind: &str| json!({"spec": {"type": kind, "ports": [{"port": 1}]}});
    let charges = update(
        &quotas,
        "services",
        &of("LoadBalancer"),
        Some(&of("ClusterIP")),
    )
    .unwrap();
    assert_eq!(
        told(&charges[0].used),
        "services=1 services.loadbalancers=1"
    );
    assert_eq!(
        update(
            &quotas,
            "services",
            &of("ClusterIP"),
            Some(&of("ClusterIP"))
        ),
        Ok(Vec::new())
    );
    // Less may always be.
    let over = [quota(
        json!({}),
        json!({"requests.storage": "1"}),
        json!({"requests.storage": "9"}),
    )];
    let claim = |storage: &str| json!({"spec": {"resources": {"requests": {"storage": storage}}}});
    let charges = update(
        &over,
        "persistentvolumeclaims",
        &claim("2"),
        Some(&claim("5")),
    )
    .unwrap();
    assert_eq!(told(&charges[0].used), "requests.storage=6");
}

#[test]
fn scopes_choose_pods_and_claims() {
    let best_effort = pod(json!({}), json!({}));
    let burstable = pod(json!({"cpu": "1"}), json!({}));
    let with = |field: &str, value: Value| {
        let mut pod = best_effort.clone();
        pod["spec"][field] = value;
        pod
    };
    let deadline = with("activeDeadlineSeconds", json!(5));
    let high = with("priorityClassName", json!("high"));
    let reaching = with(
        "affinity",
        json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "x", "namespaces": ["other"]}]}}),
    );
    let scopes = |scopes: Value| json!({"scopes": scopes});
    let select = |operator: &str, values: Value| {
        json!({"scopeSelector": {"matchExpressions": [
            {"scopeName": "PriorityClass", "operator": operator, "values": values}]}})
    };
    for (spec, pod, expected) in [
        (json!({}), &best_effort, true),
        (scopes(json!(["BestEffort"])), &best_effort, true),
        (scopes(json!(["BestEffort"])), &burstable, false),
        (scopes(json!(["NotBestEffort"])), &burstable, true),
        (scopes(json!(["Terminating"])), &deadline, true),
        (scopes(json!(["NotTerminating"])), &deadline, false),
        (
            scopes(json!(["BestEffort", "Terminating"])),
            &deadline,
            true,
        ),
        (scopes(json!(["PriorityClass"])), &high, true),
        (scopes(json!(["PriorityClass"])), &best_effort, false),
        (select("In", json!(["low", "high"])), &high, true),
        (select("In", json!(["low"])), &high, false),
        (select("NotIn", json!(["low"])), &high, true),
        (select("NotIn", json!(["low"])), &best_effort, true),
        (select("DoesNotExist", json!([])), &best_effort, true),
        (
            scopes(json!(["CrossNamespacePodAffinity"])),
            &reaching,
            true,
        ),
        (scopes(json!(["CrossNamespacePodAffinity"])), &high, false),
    ] {
        let quota = quota(spec.clone(), json!({}), json!({}));
        let pod = Owned::of("pods", pod);
        assert_eq!(pod.subject().is_in_scope(&quota), expected, "{spec}");
    }
    let scoped = quota(scopes(json!(["BestEffort"])), json!({}), json!({}));
    assert!(
        !Owned::of("services", &json!({}))
            .subject()
            .is_in_scope(&scoped)
    );
}

#[test]
fn names_lead_to_the_resources_that_they_count() {
    let names = [
        "requests.cpu",
        "gold.storageclass.storage.k8s.io/requests.storage",
        "services.nodeports",
        "count/jobs.batch",
        "configmaps",
        "requests.example.com/gpu",
    ];
    let counted: Vec<String> = counted(names.into_iter()).into_iter().collect();
    assert_eq!(
        counted,
        [
            "configmaps",
            "jobs.batch",
            "persistentvolumeclaims",
            "pods",
            "services"
        ]
    );
}
