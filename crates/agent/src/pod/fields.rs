//! The downward API: a pod's fields and a container's resources as text.

use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};
use kontiki_api::quantity::{cpu_milli, memory_bytes};

use super::{PodExt as _, total};
use crate::node::Node;

/// What the pod knows about itself only once it has a place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The pod's address, empty before it has one.
    pub pod_ip: String,
    /// The node's address.
    pub host_ip: String,
}

/// The value of a `fieldPath`; an error in words.
pub fn field(pod: &Pod, place: &Place, path: &str) -> Result<String, String> {
    let meta = &pod.metadata;
    if let Some((map, key)) = subscript(path) {
        let map = match map {
            "metadata.labels" => meta.labels.as_ref(),
            "metadata.annotations" => meta.annotations.as_ref(),
            _ => return Err(format!("invalid subscript in field path {path:?}")),
        };
        return Ok(map
            .and_then(|map| map.get(key))
            .cloned()
            .unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => pod.name().to_owned(),
        "metadata.namespace" => pod.namespace().to_owned(),
        "metadata.uid" => pod.uid().to_owned(),
        "metadata.labels" => lines(total(meta.labels.as_ref())),
        "metadata.annotations" => lines(total(meta.annotations.as_ref())),
        "spec.nodeName" => pod.spec().node_name.clone().unwrap_or_default(),
        "spec.serviceAccountName" => pod.spec().service_account_name.clone().unwrap_or_default(),
        "status.hostIP" | "status.hostIPs" => place.host_ip.clone(),
        "status.podIP" | "status.podIPs" => place.pod_ip.clone(),
        _ => return Err(format!("unsupported fieldPath: {path}")),
    })
}

/// `metadata.labels['app']` is a map and a key.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, key) = path.strip_suffix("']")?.split_once("['")?;
    Some((map, key))
}

/// `key="value"` lines, as the files of a downward volume have them.
fn lines<'a>(map: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    map.map(|(key, value)| format!("{key}={value:?}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The value of a `resourceFieldRef`, divided and rounded up; limits default to what the node offers.
pub fn resource(
    node: &Node,
    container: &Container,
    selector: &ResourceFieldSelector,
) -> Result<String, String> {
    let resources = container.resources.clone().unwrap_or_default();
    let (kind, name) = selector.resource.split_once('.').unwrap_or(("", ""));
    let from = match kind {
        "limits" => resources.limits,
        "requests" => resources.requests,
        _ => {
            return Err(format!(
                "unsupported container resource : {}",
                selector.resource
            ));
        }
    };
    let text = from
        .and_then(|map| map.get(name).cloned())
        .map(|quantity| quantity.0);
    let capacity = &node.capacity;
    let wrong = |error: kontiki_api::quantity::Error| error.to_string();
    let is_limit = kind == "limits";
    let amount = match (name, text) {
        ("cpu", Some(text)) => cpu_milli(&text).map_err(wrong)?,
        ("cpu", None) if is_limit => i128::from(capacity.cpu_milli),
        (_, Some(text)) => memory_bytes(&text).map_err(wrong)? * 1000,
        ("memory", None) if is_limit => i128::from(capacity.memory_bytes) * 1000,
        ("ephemeral-storage", None) if is_limit => {
            i128::from(capacity.ephemeral_storage_bytes) * 1000
        }
        _ => 0,
    };
    let divisor = match selector.divisor.as_ref().map(|divisor| divisor.0.as_str()) {
        None | Some("" | "0") => 1000,
        Some(text) => cpu_milli(text).map_err(wrong)?.max(1),
    };
    Ok(((amount + divisor - 1) / divisor).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_labels_and_unknown_paths() {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": { "name": "p", "namespace": "d", "labels": { "app": "web", "v": "1" } },
            "spec": { "nodeName": "n1", "containers": [] },
        }))
        .unwrap();
        let place = Place {
            pod_ip: "10.1.1.1".into(),
            host_ip: "192.0.2.1".into(),
        };
        let get = |path| field(&pod, &place, path);
        assert_eq!(get("metadata.labels['app']").unwrap(), "web");
        assert_eq!(get("metadata.labels").unwrap(), "app=\"web\"\nv=\"1\"");
        assert_eq!(get("status.podIP").unwrap(), "10.1.1.1");
        assert_eq!(get("metadata.annotations['x']").unwrap(), "");
        assert!(get("spec.nonsense").is_err());
    }
}
