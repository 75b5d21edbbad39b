//! Upstream's rules of lists and maps, which k8s-openapi leaves out: `listType`, `listMapKey`, `mapType`, `structType`,
//! `patchStrategy` and `patchMergeKey` of the Go types (`k8s.io/api` v0.35).
//!
//! Only what differs from the default is listed: a list is atomic and replaced, a map or struct is granular and merged.

use super::Merge;

/// How server-side apply tells items of a list apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListRule {
    /// One value.
    Atomic,
    /// A set of scalars.
    Set,
    /// Objects with these key fields.
    Map(&'static [&'static str]),
}

/// The rule of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Server-side apply, for lists.
    pub list: ListRule,
    /// Strategic merge, for lists.
    pub merge: Option<Merge>,
    /// Strategic merge with `retainKeys`.
    pub retain_keys: bool,
    /// Server-side apply, for maps: one value.
    pub atomic: bool,
}

impl Rule {
    const fn retaining(self) -> Self {
        Self {
            retain_keys: true,
            ..self
        }
    }
}

/// The rule of a field without one.
pub const DEFAULT: Rule = Rule {
    list: ListRule::Atomic,
    merge: None,
    retain_keys: false,
    atomic: false,
};
const SET: Rule = Rule {
    list: ListRule::Set,
    ..DEFAULT
};
const MERGE_SET: Rule = Rule {
    merge: Some(Merge::Set),
    ..DEFAULT
};
const SET_MERGE: Rule = Rule {
    list: ListRule::Set,
    ..MERGE_SET
};
const RETAIN: Rule = DEFAULT.retaining();
const ATOMIC_MAP: Rule = Rule {
    atomic: true,
    ..DEFAULT
};

const fn merge_only(key: &'static str) -> Rule {
    Rule {
        merge: Some(Merge::Key(key)),
        ..DEFAULT
    }
}

const fn map_only(keys: &'static [&'static str]) -> Rule {
    Rule {
        list: ListRule::Map(keys),
        ..DEFAULT
    }
}

const fn map(keys: &'static [&'static str], merge_key: &'static str) -> Rule {
    Rule {
        list: ListRule::Map(keys),
        ..merge_only(merge_key)
    }
}

type Row = (&'static str, &'static str, Rule);

/// By package: (type, field, rule).
#[rustfmt::skip]
static RULES: &[(&str, &[Row])] = &[
    ("io.k8s.api.core.v1", &[
        ("ResourceRequirements", "claims", map_only(&["name"])),
        ("Container", "ports", map(&["containerPort", "protocol"], "containerPort")),
        ("Container", "env", map(&["name"], "name")),
        ("Container", "volumeMounts", map(&["mountPath"], "mountPath")),
        ("Container", "volumeDevices", map(&["devicePath"], "devicePath")),
        ("ContainerStatus", "volumeMounts", map(&["mountPath"], "mountPath")),
        ("ContainerStatus", "allocatedResourcesStatus", map(&["name"], "name")),
        ("ResourceStatus", "resources", map_only(&["resourceID"])),
        ("ContainerRestartRuleOnExitCodes", "values", SET),
        ("PodSpec", "volumes", map(&["name"], "name").retaining()),
        ("PodSpec", "initContainers", map(&["name"], "name")),
        ("PodSpec", "containers", map(&["name"], "name")),
        ("PodSpec", "ephemeralContainers", map(&["name"], "name")),
        ("PodSpec", "nodeSelector", ATOMIC_MAP),
        ("PodSpec", "imagePullSecrets", map(&["name"], "name")),
        ("PodSpec", "hostAliases", map(&["ip"], "ip")),
        ("PodSpec", "topologySpreadConstraints", map(&["topologyKey", "whenUnsatisfiable"], "topologyKey")),
        ("PodSpec", "schedulingGates", map(&["name"], "name")),
        ("PodSpec", "resourceClaims", map(&["name"], "name").retaining()),
        ("EphemeralContainer", "ports", map(&["containerPort", "protocol"], "containerPort")),
        ("EphemeralContainer", "env", map(&["name"], "name")),
        ("EphemeralContainer", "volumeMounts", map(&["mountPath"], "mountPath")),
        ("EphemeralContainer", "volumeDevices", map(&["devicePath"], "devicePath")),
        ("PodStatus", "conditions", map(&["type"], "type")),
        ("PodStatus", "hostIPs", merge_only("ip")),
        ("PodStatus", "podIPs", map(&["ip"], "ip")),
        ("PodStatus", "resourceClaimStatuses", map(&["name"], "name").retaining()),
        ("ServiceStatus", "conditions", map(&["type"], "type")),
        ("ServiceSpec", "ports", map(&["port", "protocol"], "port")),
        ("ServiceSpec", "selector", ATOMIC_MAP),
        ("ServiceAccount", "secrets", map(&["name"], "name")),
        ("NodeSpec", "podCIDRs", SET_MERGE),
        ("NodeStatus", "conditions", map(&["type"], "type")),
        ("NodeStatus", "addresses", map(&["type"], "type")),
        ("NamespaceStatus", "conditions", map(&["type"], "type")),
        ("PersistentVolumeClaimStatus", "conditions", map(&["type"], "type")),
        ("ReplicationControllerSpec", "selector", ATOMIC_MAP),
        ("ReplicationControllerStatus", "conditions", map(&["type"], "type")),
    ]),
    ("io.k8s.api.apps.v1", &[
        ("DeploymentSpec", "strategy", RETAIN),
        ("DeploymentStatus", "conditions", map(&["type"], "type")),
        ("ReplicaSetStatus", "conditions", map(&["type"], "type")),
        ("StatefulSetStatus", "conditions", map(&["type"], "type")),
        ("DaemonSetStatus", "conditions", map(&["type"], "type")),
    ]),
    ("io.k8s.api.autoscaling.v2", &[
        ("HorizontalPodAutoscalerStatus", "conditions", map(&["type"], "type")),
    ]),
    ("io.k8s.api.policy.v1", &[
        ("PodDisruptionBudgetStatus", "conditions", map(&["type"], "type")),
    ]),
    ("io.k8s.api.batch.v1", &[
        ("PodFailurePolicyOnExitCodesRequirement", "values", SET),
        ("JobStatus", "conditions", merge_only("type")),
        ("UncountedTerminatedPods", "succeeded", SET),
        ("UncountedTerminatedPods", "failed", SET),
    ]),
    ("io.k8s.api.discovery.v1", &[
        ("Endpoint", "addresses", SET),
    ]),
    ("io.k8s.api.admissionregistration.v1", &[
        ("ValidatingAdmissionPolicyStatus", "conditions", map_only(&["type"])),
        ("ValidatingAdmissionPolicySpec", "matchConditions", map(&["name"], "name")),
        ("ValidatingAdmissionPolicySpec", "variables", map(&["name"], "name")),
        ("ValidatingAdmissionPolicyBindingSpec", "validationActions", SET),
        ("ValidatingWebhookConfiguration", "webhooks", map(&["name"], "name")),
        ("MutatingWebhookConfiguration", "webhooks", map(&["name"], "name")),
        ("ValidatingWebhook", "matchConditions", map(&["name"], "name")),
        ("MutatingWebhook", "matchConditions", map(&["name"], "name")),
    ]),
    ("io.k8s.api.certificates.v1", &[
        ("CertificateSigningRequestStatus", "conditions", map_only(&["type"])),
    ]),
    ("io.k8s.api.flowcontrol.v1", &[
        ("ResourcePolicyRule", "verbs", SET),
        ("ResourcePolicyRule", "apiGroups", SET),
        ("ResourcePolicyRule", "resources", SET),
        ("ResourcePolicyRule", "namespaces", SET),
        ("NonResourcePolicyRule", "verbs", SET),
        ("NonResourcePolicyRule", "nonResourceURLs", SET),
        ("FlowSchemaStatus", "conditions", map(&["type"], "type")),
        ("PriorityLevelConfigurationStatus", "conditions", map(&["type"], "type")),
    ]),
    ("io.k8s.api.networking.v1", &[
        ("ServiceCIDRStatus", "conditions", map(&["type"], "type")),
    ]),
    ("io.k8s.api.node.v1", &[
        ("Scheduling", "nodeSelector", ATOMIC_MAP),
    ]),
    ("io.k8s.api.resource.v1", &[
        ("ResourceClaimStatus", "reservedFor", map(&["uid"], "uid")),
        ("ResourceClaimStatus", "devices", map_only(&["driver", "device", "pool", "shareID"])),
        ("AllocatedDeviceStatus", "conditions", map_only(&["type"])),
    ]),
    ("io.k8s.api.storage.v1", &[
        ("CSIDriverSpec", "volumeLifecycleModes", SET),
        ("CSINodeSpec", "drivers", map(&["name"], "name")),
    ]),
    ("io.k8s.apimachinery.pkg.apis.meta.v1", &[
        ("ObjectMeta", "ownerReferences", map(&["uid"], "uid")),
        ("ObjectMeta", "finalizers", SET_MERGE),
    ]),
];

/// Structs that are one value to server-side apply.
static ATOMIC_STRUCTS: &[&str] = &[
    "io.k8s.api.admissionregistration.v1.ParamKind",
    "io.k8s.api.admissionregistration.v1.Variable",
    "io.k8s.api.admissionregistration.v1.ParamRef",
    "io.k8s.api.admissionregistration.v1.MatchResources",
    "io.k8s.api.admissionregistration.v1.NamedRuleWithOperations",
    "io.k8s.api.core.v1.SecretReference",
    "io.k8s.api.core.v1.FileKeySelector",
    "io.k8s.api.core.v1.ObjectFieldSelector",
    "io.k8s.api.core.v1.ResourceFieldSelector",
    "io.k8s.api.core.v1.ConfigMapKeySelector",
    "io.k8s.api.core.v1.SecretKeySelector",
    "io.k8s.api.core.v1.NodeSelector",
    "io.k8s.api.core.v1.NodeSelectorTerm",
    "io.k8s.api.core.v1.ScopeSelector",
    "io.k8s.api.core.v1.EndpointAddress",
    "io.k8s.api.core.v1.EndpointPort",
    "io.k8s.api.core.v1.ObjectReference",
    "io.k8s.api.core.v1.LocalObjectReference",
    "io.k8s.api.core.v1.TypedLocalObjectReference",
    "io.k8s.api.autoscaling.v1.CrossVersionObjectReference",
    "io.k8s.api.core.v1.TopologySelectorTerm",
    "io.k8s.api.discovery.v1.EndpointPort",
    "io.k8s.api.networking.v1.ServiceBackendPort",
    "io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference",
    "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector",
];

/// Structs that Go holds by value, of those that a new object reaches without a pointer or a list; beside them every
/// object's own `metadata`, `spec` and `status`.
const BY_VALUE: &[(&str, &str)] = &[
    ("io.k8s.api.apps.v1.DaemonSetSpec", "template"),
    ("io.k8s.api.apps.v1.DaemonSetSpec", "updateStrategy"),
    ("io.k8s.api.apps.v1.DeploymentSpec", "strategy"),
    ("io.k8s.api.apps.v1.DeploymentSpec", "template"),
    ("io.k8s.api.apps.v1.ReplicaSetSpec", "template"),
    ("io.k8s.api.apps.v1.StatefulSetSpec", "template"),
    ("io.k8s.api.apps.v1.StatefulSetSpec", "updateStrategy"),
    ("io.k8s.api.batch.v1.CronJobSpec", "jobTemplate"),
    ("io.k8s.api.batch.v1.JobSpec", "template"),
    ("io.k8s.api.core.v1.Event", "involvedObject"),
    ("io.k8s.api.core.v1.Event", "source"),
    ("io.k8s.api.core.v1.PersistentVolumeClaimSpec", "resources"),
    ("io.k8s.api.core.v1.PodTemplate", "template"),
];

/// Whether a field is a struct that Go holds by value.
pub fn is_by_value(definition: &str, field: &str) -> bool {
    matches!(field, "metadata" | "spec" | "status") || BY_VALUE.contains(&(definition, field))
}

/// The rule of a field of a definition such as `io.k8s.api.core.v1.PodSpec`.
pub fn rule(definition: &str, field: &str) -> Rule {
    let Some((package, name)) = definition.rsplit_once('.') else {
        return DEFAULT;
    };
    let rows = RULES
        .iter()
        .find(|(known, _)| *known == package)
        .map_or(&[][..], |(_, rows)| rows);
    let row = rows
        .iter()
        .find(|(known, known_field, _)| *known == name && *known_field == field);
    row.map_or(DEFAULT, |(_, _, rule)| *rule)
}

/// Whether a struct is one value to server-side apply.
pub fn is_atomic(definition: &str) -> bool {
    ATOMIC_STRUCTS.contains(&definition)
}

/// The value that a list-map key has when absent.
pub(super) fn key_default(key: &str) -> Option<&'static str> {
    match key {
        "protocol" => Some("TCP"),
        _ => None,
    }
}

/// All (definition, field) with a rule.
#[cfg(test)]
pub(super) fn all() -> impl Iterator<Item = (String, &'static str)> {
    RULES.iter().flat_map(|(package, rows)| {
        rows.iter()
            .map(move |(name, field, _)| (format!("{package}.{name}"), *field))
    })
}
