//! What upstream warns of in pods and templates: things that are taken but do nothing, or not what they seem to
//! (`pkg/api/pod/warnings.go`).

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{
    Container, NodeSelectorTerm, PodSpec, PodTemplateSpec, ResourceRequirements, Volume,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::json::typed;
use super::path::{Given, Path, to_value};
use super::resources::parse;
use crate::field_error::go_quote;
use crate::meta::Meta;

/// Annotations that became fields: (name, or its start when it ends in `/`; what is said of it).
const FORMER_ANNOTATIONS: &[(&str, &str)] = &[
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    (
        "seccomp.security.alpha.kubernetes.io/pod",
        "non-functional in v1.27+; use the \"seccompProfile\" field instead",
    ),
    (
        "container.seccomp.security.alpha.kubernetes.io/",
        "non-functional in v1.27+; use the \"seccompProfile\" field instead",
    ),
    (
        "security.alpha.kubernetes.io/sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
    (
        "security.alpha.kubernetes.io/unsafe-sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
];

/// Sources of volumes that do nothing any more: (field, what is said of it).
pub const FORMER_SOURCES: &[(&str, &str)] = &[
    (
        "photonPersistentDisk",
        "deprecated in v1.11, non-functional in v1.16+",
    ),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

/// Labels of nodes that were renamed: (name, what is said of it).
const FORMER_LABELS: &[(&str, &str)] = &[
    (
        "failure-domain.beta.kubernetes.io/zone",
        "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    (
        "beta.kubernetes.io/arch",
        "deprecated since v1.14; use \"kubernetes.io/arch\" instead",
    ),
    (
        "beta.kubernetes.io/os",
        "deprecated since v1.14; use \"kubernetes.io/os\" instead",
    ),
    (
        "beta.kubernetes.io/instance-type",
        "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead",
    ),
];

/// Warnings of a new pod; updates of pods are mostly made by machines and warn of nothing.
pub fn pod(new: &Value, old: Option<&Value>) -> Vec<String> {
    if old.is_some() {
        return Vec::new();
    }
    let template = PodTemplateSpec {
        metadata: Some(typed(new.get("metadata"))),
        spec: Some(typed(new.get("spec"))),
    };
    template_at("", &template)
}

/// Warnings of the template at `at`, such as `spec.template`, unless an update left the generation alone.
pub fn template(new: &Value, old: Option<&Value>, at: &str) -> Vec<String> {
    let generation = |object: &Value| Meta::of(object).generation();
    if old.is_some_and(|old| generation(old) == generation(new)) {
        return Vec::new();
    }
    let pointer = format!("/{}", at.replace('.', "/"));
    template_at(at, &typed(new.pointer(&pointer)))
}

fn template_at(at: &str, template: &PodTemplateSpec) -> Vec<String> {
    let join = |field: &str| match at {
        "" => field.to_owned(),
        at => format!("{at}.{field}"),
    };
    let mut warnings = Vec::new();
    if let Some(spec) = &template.spec {
        let spec_at = join("spec");
        let at = Path::root(&spec_at);
        labels(&mut warnings, &at, spec);
        if let Some(metadata) = &template.metadata {
            annotations(&mut warnings, &join("metadata.annotations"), metadata);
        }
        volumes(&mut warnings, &at, spec.volumes.given());
        duplicates(&mut warnings, &at, spec);
        for (field, list) in [
            ("initContainers", spec.init_containers.given()),
            ("containers", &spec.containers),
        ] {
            let list_at = at.child(field);
            for (i, one) in list.iter().enumerate() {
                container(&mut warnings, &list_at.index(i), one);
            }
        }
        let overhead_at = at.child("overhead");
        fractions(&mut warnings, &overhead_at, spec.overhead.as_ref());
        if spec
            .termination_grace_period_seconds
            .is_some_and(|seconds| seconds < 0)
        {
            let at = at.child("terminationGracePeriodSeconds");
            let said = "must be >= 0; negative values are invalid and will be treated as 1";
            warnings.push(format!("{at}: {said}"));
        }
    }
    warnings
}

fn former(list: &'static [(&str, &str)], name: &str) -> Option<&'static str> {
    let found = list.iter().find(|(known, _)| *known == name);
    found.map(|(_, said)| *said)
}

/// Names of node labels, and selectors that select nothing.
fn labels(warnings: &mut Vec<String>, at: &Path<'_>, spec: &PodSpec) {
    let selector_at = at.child("nodeSelector");
    for label in spec.node_selector.iter().flatten().map(|(label, _)| label) {
        if let Some(said) = former(FORMER_LABELS, label) {
            warnings.push(format!("{}: {said}", selector_at.key(label)));
        }
    }
    let affinity = spec.affinity.as_ref();
    if let Some(nodes) = affinity.and_then(|affinity| affinity.node_affinity.as_ref()) {
        let at = at.child("affinity.nodeAffinity");
        let required = nodes
            .required_during_scheduling_ignored_during_execution
            .as_ref();
        let list_at = at.child("requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms");
        let terms = required.map_or(&[][..], |required| &required.node_selector_terms);
        for (i, one) in terms.iter().enumerate() {
            term(warnings, &list_at.index(i), one);
        }
        let preferred = nodes
            .preferred_during_scheduling_ignored_during_execution
            .given();
        let list_at = at.child("preferredDuringSchedulingIgnoredDuringExecution");
        for (i, one) in preferred.iter().enumerate() {
            let at = list_at.index(i);
            term(warnings, &at.child("preference"), &one.preference);
        }
    }
    let list_at = at.child("topologySpreadConstraints");
    for (i, constraint) in spec.topology_spread_constraints.given().iter().enumerate() {
        let at = list_at.index(i);
        let key = &constraint.topology_key;
        if let Some(said) = former(FORMER_LABELS, key) {
            warnings.push(format!("{}: {key} is {said}", at.child("topologyKey")));
        }
        if constraint.label_selector.is_none() {
            let said = "a null labelSelector results in matching no pod";
            warnings.push(format!("{}: {said}", at.child("labelSelector")));
        }
    }
}

fn term(warnings: &mut Vec<String>, at: &Path<'_>, term: &NodeSelectorTerm) {
    let list_at = at.child("matchExpressions");
    for (i, requirement) in term.match_expressions.given().iter().enumerate() {
        if let Some(said) = former(FORMER_LABELS, &requirement.key) {
            let at = list_at.index(i);
            warnings.push(format!(
                "{}: {} is {said}",
                at.child("key"),
                requirement.key
            ));
        }
    }
}

fn annotations(warnings: &mut Vec<String>, at: &str, metadata: &ObjectMeta) {
    let names = || metadata.annotations.iter().flatten().map(|(name, _)| name);
    for (known, said) in FORMER_ANNOTATIONS {
        let found = names().find(|name| match known.ends_with('/') {
            true => name.starts_with(known),
            false => name == known,
        });
        if let Some(name) = found {
            warnings.push(format!("{at}[{name}]: {said}"));
        }
    }
}

fn volumes(warnings: &mut Vec<String>, at: &Path<'_>, volumes: &[Volume]) {
    let list_at = at.child("volumes");
    for (i, volume) in volumes.iter().enumerate() {
        let at = list_at.index(i);
        let fields = to_value(volume);
        for (source, said) in FORMER_SOURCES {
            if fields[*source].is_object() {
                warnings.push(format!("{}: {said}", at.child(source)));
            }
        }
        if volume.git_repo.is_some() {
            let said = "deprecated in v1.11, and disabled by default in v1.33+";
            warnings.push(format!("{}: {said}", at.child("gitRepo")));
        }
        let claim = volume.ephemeral.as_ref();
        let claim = claim.and_then(|ephemeral| ephemeral.volume_claim_template.as_ref());
        if let Some(claim) = claim {
            let at = at.child("ephemeral.volumeClaimTemplate.spec");
            let spec = Some(&claim.spec);
            warnings.extend(fractional_storage(&at.to_string(), spec));
        }
    }
}

/// A warning of a claim that asks for parts of a byte.
pub fn fractional_storage(
    at: &str,
    spec: Option<&k8s_openapi::api::core::v1::PersistentVolumeClaimSpec>,
) -> Option<String> {
    let requests = spec?.resources.as_ref()?.requests.as_ref()?;
    fraction(
        &format!("{at}.resources.requests[storage]"),
        requests.get("storage")?,
    )
}

fn fraction(at: &str, amount: &Text) -> Option<String> {
    let amount = parse(amount)?;
    (!amount.is_integer()).then(|| {
        format!(
            "{at}: fractional byte value {} is invalid, must be an integer",
            go_quote(&amount.to_string())
        )
    })
}

fn fractions(warnings: &mut Vec<String>, at: &Path<'_>, amounts: Option<&BTreeMap<String, Text>>) {
    for name in ["memory", "ephemeral-storage"] {
        if let Some(amount) = amounts.and_then(|amounts| amounts.get(name)) {
            warnings.extend(fraction(&at.key(name).to_string(), amount));
        }
    }
}

/// Lists whose later items apply tools take for the former ones.
fn duplicates(warnings: &mut Vec<String>, at: &Path<'_>, spec: &PodSpec) {
    let mut seen = BTreeSet::new();
    let list_at = at.child("hostAliases");
    for (i, alias) in spec.host_aliases.given().iter().enumerate() {
        if !seen.insert(&alias.ip) {
            let at = list_at.index(i);
            let ip = go_quote(&alias.ip);
            warnings.push(format!("{}: duplicate ip {ip}", at.child("ip")));
        }
    }
    let mut seen = BTreeSet::new();
    let list_at = at.child("imagePullSecrets");
    for (i, secret) in spec.image_pull_secrets.given().iter().enumerate() {
        let at = list_at.index(i);
        let name = go_quote(&secret.name);
        if !seen.insert(&secret.name) {
            warnings.push(format!("{}: duplicate name {name}", at.child("name")));
        }
        if secret.name.is_empty() {
            warnings.push(format!("{}: invalid empty name {name}", at.child("name")));
        }
    }
}

fn container(warnings: &mut Vec<String>, at: &Path<'_>, container: &Container) {
    let mut seen = BTreeSet::new();
    let list_at = at.child("env");
    for (i, variable) in container.env.given().iter().enumerate() {
        if !seen.insert(&variable.name) {
            warnings.push(format!(
                "{}: hides previous definition of {}, which may be dropped when using apply",
                list_at.index(i),
                go_quote(&variable.name)
            ));
        }
    }
    let none = ResourceRequirements::default();
    let resources = container.resources.as_ref().unwrap_or(&none);
    let at = at.child("resources");
    fractions(warnings, &at.child("limits"), resources.limits.as_ref());
    fractions(warnings, &at.child("requests"), resources.requests.as_ref());
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_does_nothing_is_told() {
        let template = json!({
            "metadata": {"annotations": {"container.seccomp.security.alpha.kubernetes.io/a": "x"}},
            "spec": {
                "nodeSelector": {"beta.kubernetes.io/os": "linux"},
                "topologySpreadConstraints": [{"topologyKey": "x"}],
                "volumes": [{"name": "v", "gitRepo": {}}],
                "imagePullSecrets": [{"name": "s"}, {"name": "s"}],
                "containers": [{
                    "name": "a",
                    "env": [{"name": "X", "value": "1"}, {"name": "X", "value": "2"}],
                    "resources": {"limits": {"memory": "100m"}},
                }],
            },
        });
        let object = json!({"metadata": {"generation": 2}, "spec": {"template": template}});
        assert_eq!(
            super::template(&object, None, "spec.template"),
            [
                "spec.template.spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \
                 \"kubernetes.io/os\" instead",
                "spec.template.spec.topologySpreadConstraints[0].labelSelector: a null labelSelector \
                 results in matching no pod",
                "spec.template.metadata.annotations[container.seccomp.security.alpha.kubernetes.io/a]: \
                 non-functional in v1.27+; use the \"seccompProfile\" field instead",
                "spec.template.spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in \
                 v1.33+",
                "spec.template.spec.imagePullSecrets[1].name: duplicate name \"s\"",
                "spec.template.spec.containers[0].env[1]: hides previous definition of \"X\", which may \
                 be dropped when using apply",
                "spec.template.spec.containers[0].resources.limits[memory]: fractional byte value \
                 \"100m\" is invalid, must be an integer",
            ]
        );
        // The generation did not move: nothing of the template is new.
        assert_eq!(
            super::template(&object, Some(&object), "spec.template"),
            [""; 0]
        );
        let pod_warnings = pod(&object["spec"]["template"], None);
        assert!(pod_warnings[0].starts_with("spec.nodeSelector[beta.kubernetes.io/os]: "));
    }
}
