//! Defaults of a pod spec, wherever it stands: in a pod or in a template (upstream `pkg/apis/core/v1/defaults.go`).
//!
//! What upstream fills in for pods alone is in `kinds/pod/defaults.rs`, volumes are in `default_volumes.rs`.

use serde_json::{Map, Value, json};

use super::default_volumes;
use super::json::{Fields, child, each, ensure, into_object, or, or_pointer, or_zero, unset};

/// The lists of containers of a pod spec.
pub const CONTAINER_LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// Fills in the defaults of a pod spec.
pub fn pod_spec(spec: &mut Fields) {
    or(spec, "dnsPolicy", "ClusterFirst");
    or(spec, "restartPolicy", "Always");
    or(spec, "schedulerName", "default-scheduler");
    or_pointer(spec, "securityContext", json!({}));
    or_pointer(spec, "terminationGracePeriodSeconds", 30);
    mirror_service_account(spec);
    for volume in each(spec, "volumes") {
        default_volumes::volume(volume);
    }
    for list in CONTAINER_LISTS {
        each(spec, list).for_each(container);
    }
}

/// Fills in the defaults of a pod template.
pub fn template(template: &mut Fields) {
    ensure(template, "metadata");
    pod_spec(ensure(template, "spec"));
}

/// Fills in the defaults of the template at `key` of a workload's spec.
pub fn template_of(object: &mut Value) {
    let spec = ensure(into_object(object), "spec");
    template(ensure(spec, "template"));
}

/// `serviceAccount` is the old name of `serviceAccountName`; both are served, the new one wins.
fn mirror_service_account(spec: &mut Fields) {
    let old = spec.get("serviceAccount").cloned().unwrap_or_default();
    if unset(spec, "serviceAccountName") && old.as_str().is_some_and(|old| !old.is_empty()) {
        spec.insert("serviceAccountName".to_owned(), old);
    }
    match spec.get("serviceAccountName").cloned() {
        Some(name) => spec.insert("serviceAccount".to_owned(), name),
        None => spec.remove("serviceAccount"),
    };
}

fn container(container: &mut Fields) {
    if unset(container, "imagePullPolicy") {
        let image = container
            .get("image")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let policy = pull_policy(image);
        container.insert("imagePullPolicy".to_owned(), policy.into());
    }
    or_pointer(container, "resources", json!({}));
    or(container, "terminationMessagePath", "/dev/termination-log");
    or(container, "terminationMessagePolicy", "File");
    for port in each(container, "ports") {
        or(port, "protocol", "TCP");
    }
    for variable in each(container, "env") {
        env(variable);
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(found) = child(container, name) {
            probe(found);
        }
    }
    if let Some(lifecycle) = child(container, "lifecycle") {
        for name in ["postStart", "preStop"] {
            if let Some(handler) = child(lifecycle, name) {
                http_get(handler);
            }
        }
    }
}

fn env(variable: &mut Fields) {
    let Some(source) = child(variable, "valueFrom") else {
        return;
    };
    if let Some(reference) = child(source, "fieldRef") {
        or(reference, "apiVersion", "v1");
    }
    if let Some(reference) = child(source, "resourceFieldRef") {
        or_pointer(reference, "divisor", "0");
    }
    if let Some(reference) = child(source, "fileKeyRef") {
        or_pointer(reference, "optional", false);
    }
}

fn probe(probe: &mut Fields) {
    or_zero(probe, "timeoutSeconds", 1);
    or_zero(probe, "periodSeconds", 10);
    or_zero(probe, "successThreshold", 1);
    or_zero(probe, "failureThreshold", 3);
    http_get(probe);
    if let Some(grpc) = child(probe, "grpc") {
        or_pointer(grpc, "service", "");
    }
}

fn http_get(handler: &mut Fields) {
    if let Some(action) = child(handler, "httpGet") {
        or(action, "path", "/");
        or(action, "scheme", "HTTP");
    }
}

/// `Always` for the tag `latest`, written or implied; `IfNotPresent` for other tags and for digests.
pub fn pull_policy(image: &str) -> &'static str {
    if image.contains('@') {
        return "IfNotPresent";
    }
    let name = image.rsplit('/').next().unwrap_or_default();
    match name.split_once(':') {
        None | Some((_, "latest")) => "Always",
        Some(_) => "IfNotPresent",
    }
}

/// Requests of a container default to its limits; for pods only, so that templates keep what users wrote.
pub fn requests_from_limits(container: &mut Fields) {
    let Some(resources) = child(container, "resources") else {
        return;
    };
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else {
        return;
    };
    if limits.is_empty() {
        return;
    }
    let requests = resources
        .entry("requests")
        .or_insert_with(|| Value::Object(Map::new()));
    let requests = into_object(requests);
    for (name, limit) in limits {
        requests.entry(name).or_insert(limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pull_policy_follows_the_tag() {
        for (image, policy) in [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("nginx:1.27", "IfNotPresent"),
            ("host:5000/a/nginx", "Always"),
            ("host:5000/a/nginx:1", "IfNotPresent"),
            ("nginx@sha256:0123", "IfNotPresent"),
            ("nginx:latest@sha256:0123", "IfNotPresent"),
        ] {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
    }

    #[test]
    fn a_minimal_spec_is_filled_in_as_upstream_does() {
        let mut spec = json!({
            "serviceAccount": "robot",
            "containers": [{
                "name": "a",
                "image": "nginx",
                "ports": [{"containerPort": 80}],
                "env": [{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                "readinessProbe": {"httpGet": {"port": 80}, "periodSeconds": 0},
            }],
            "volumes": [{"name": "v"}],
        });
        pod_spec(into_object(&mut spec));
        let expected = json!({
            "containers": [{
                "name": "a",
                "image": "nginx",
                "imagePullPolicy": "Always",
                "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "env": [{"name": "X", "valueFrom": {
                    "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"},
                }}],
                "readinessProbe": {
                    "httpGet": {"path": "/", "port": 80, "scheme": "HTTP"},
                    "timeoutSeconds": 1, "periodSeconds": 10,
                    "successThreshold": 1, "failureThreshold": 3,
                },
                "resources": {},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
            }],
            "dnsPolicy": "ClusterFirst",
            "restartPolicy": "Always",
            "schedulerName": "default-scheduler",
            "securityContext": {},
            "serviceAccount": "robot",
            "serviceAccountName": "robot",
            "terminationGracePeriodSeconds": 30,
            "volumes": [{"name": "v", "emptyDir": {}}],
        });
        assert_eq!(spec, expected);
        pod_spec(into_object(&mut spec));
        assert_eq!(spec, expected, "a second pass changes nothing");
    }
}
