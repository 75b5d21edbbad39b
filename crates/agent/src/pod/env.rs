//! A container's environment: sources, precedence and `$(VAR)` expansion as upstream has them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVarSource, Pod, Secret, Service};

use super::fields::{Place, field, resource};
use super::{PodExt as _, total};
use crate::mirror::resource as ids;
use crate::node::Node;

/// The environment in a stable order; an error in words that an event can carry.
pub fn build(
    node: &Node,
    pod: &Pod,
    container: &Container,
    place: &Place,
) -> Result<BTreeMap<String, String>, String> {
    let services = service_variables(node, pod);
    let mut result = BTreeMap::new();
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.clone().unwrap_or_default();
        if let Some(reference) = &source.config_map_ref {
            let map = config_map(node, pod, &reference.name);
            let Some(map) = present(map, reference.optional, "configmap", &reference.name)? else {
                continue;
            };
            for (key, value) in total(map.data.as_ref()) {
                result.insert(format!("{prefix}{key}"), value.clone());
            }
        }
        if let Some(reference) = &source.secret_ref {
            let secret = secret(node, pod, &reference.name);
            let Some(secret) = present(secret, reference.optional, "secret", &reference.name)?
            else {
                continue;
            };
            for (key, value) in total(secret.data.as_ref()) {
                let value = String::from_utf8_lossy(&value.0).into_owned();
                result.insert(format!("{prefix}{key}"), value);
            }
        }
    }
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (_, Some(source)) => match from_source(node, pod, container, place, source)? {
                Some(value) => value,
                None => continue,
            },
            (text, None) => {
                let known = |name: &str| result.get(name).or_else(|| services.get(name)).cloned();
                expand(text.as_deref().unwrap_or(""), known)
            }
        };
        result.insert(variable.name.clone(), value);
    }
    for (name, value) in services {
        result.entry(name).or_insert(value);
    }
    Ok(result)
}

fn from_source(
    node: &Node,
    pod: &Pod,
    container: &Container,
    place: &Place,
    source: &EnvVarSource,
) -> Result<Option<String>, String> {
    if let Some(reference) = &source.field_ref {
        return field(pod, place, &reference.field_path).map(Some);
    }
    if let Some(reference) = &source.resource_field_ref {
        let of = reference
            .container_name
            .as_deref()
            .and_then(|name| pod.container(name));
        return resource(node, of.unwrap_or(container), reference).map(Some);
    }
    if let Some(reference) = &source.config_map_key_ref {
        let map = config_map(node, pod, &reference.name);
        let Some(map) = present(map, reference.optional, "configmap", &reference.name)? else {
            return Ok(None);
        };
        let value = map
            .data
            .as_ref()
            .and_then(|data| data.get(&reference.key))
            .cloned();
        let place = format!("ConfigMap {}/{}", pod.namespace(), reference.name);
        return key(value, reference.optional, &reference.key, &place);
    }
    if let Some(reference) = &source.secret_key_ref {
        let secret = secret(node, pod, &reference.name);
        let Some(secret) = present(secret, reference.optional, "secret", &reference.name)? else {
            return Ok(None);
        };
        let bytes = secret
            .data
            .as_ref()
            .and_then(|data| data.get(&reference.key));
        let value = bytes.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned());
        let place = format!("Secret {}/{}", pod.namespace(), reference.name);
        return key(value, reference.optional, &reference.key, &place);
    }
    Ok(None)
}

fn config_map(node: &Node, pod: &Pod, name: &str) -> Option<ConfigMap> {
    node.mirror.get(ids::CONFIG_MAPS, pod.namespace(), name)
}

fn secret(node: &Node, pod: &Pod, name: &str) -> Option<Secret> {
    node.mirror.get(ids::SECRETS, pod.namespace(), name)
}

fn present<T>(
    found: Option<T>,
    optional: Option<bool>,
    kind: &str,
    name: &str,
) -> Result<Option<T>, String> {
    match found {
        Some(found) => Ok(Some(found)),
        None if optional == Some(true) => Ok(None),
        None => Err(format!("{kind} \"{name}\" not found")),
    }
}

fn key(
    value: Option<String>,
    optional: Option<bool>,
    key: &str,
    place: &str,
) -> Result<Option<String>, String> {
    match value {
        Some(value) => Ok(Some(value)),
        None if optional == Some(true) => Ok(None),
        None => Err(format!("couldn't find key {key} in {place}")),
    }
}

/// `$(NAME)` becomes the value of a known variable, `$$` one dollar; anything else stays.
pub fn expand(text: &str, known: impl Fn(&str) -> Option<String>) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        result.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            result.push('$');
            rest = after;
        } else if let Some((name, after)) = rest
            .strip_prefix('(')
            .and_then(|inner| inner.split_once(')'))
        {
            match known(name) {
                Some(value) => result.push_str(&value),
                None => result.push_str(&format!("$({name})")),
            }
            rest = after;
        } else {
            result.push('$');
        }
    }
    result.push_str(rest);
    result
}

/// Docker-link style variables of the namespace's services, and those of the API server's always.
fn service_variables(node: &Node, pod: &Pod) -> BTreeMap<String, String> {
    let all = pod.spec().enable_service_links != Some(false);
    let mut variables = BTreeMap::new();
    for service in node.mirror.list::<Service>(ids::SERVICES) {
        let namespace = service.metadata.namespace.as_deref().unwrap_or("");
        let name = service.metadata.name.as_deref().unwrap_or("");
        let master = namespace == "default" && name == "kubernetes";
        if master || (all && namespace == pod.namespace()) {
            add_service(&mut variables, name, &service);
        }
    }
    variables
}

fn add_service(variables: &mut BTreeMap<String, String>, name: &str, service: &Service) {
    let Some(spec) = &service.spec else { return };
    let Some(ip) = spec
        .cluster_ip
        .as_deref()
        .filter(|ip| !ip.is_empty() && *ip != "None")
    else {
        return;
    };
    let prefix = name.replace('-', "_").to_ascii_uppercase();
    let mut set = |key: String, value: String| {
        variables.insert(format!("{prefix}_{key}"), value);
    };
    for (idx, port) in spec.ports.iter().flatten().enumerate() {
        let protocol = port
            .protocol
            .as_deref()
            .unwrap_or("TCP")
            .to_ascii_lowercase();
        let url = format!("{protocol}://{ip}:{}", port.port);
        if idx == 0 {
            set("SERVICE_HOST".into(), ip.to_owned());
            set("SERVICE_PORT".into(), port.port.to_string());
            set("PORT".into(), url.clone());
        }
        if let Some(port_name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            let port_name = port_name.replace('-', "_").to_ascii_uppercase();
            set(format!("SERVICE_PORT_{port_name}"), port.port.to_string());
        }
        let number = format!("PORT_{}_{}", port.port, protocol.to_ascii_uppercase());
        set(number.clone(), url);
        set(format!("{number}_PROTO"), protocol);
        set(format!("{number}_PORT"), port.port.to_string());
        set(format!("{number}_ADDR"), ip.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn expansion_follows_upstreams_table() {
        let known = |name: &str| (name == "VAR_A").then(|| "A".to_owned());
        for (text, expected) in [
            ("$(VAR_A)", "A"),
            ("___$(VAR_A)___", "___A___"),
            ("$(VAR_B)", "$(VAR_B)"),
            ("$$(VAR_A)", "$(VAR_A)"),
            ("$$$(VAR_A)", "$A"),
            ("$VAR_A", "$VAR_A"),
            ("f$(VAR_A", "f$(VAR_A"),
            ("cost $", "cost $"),
        ] {
            assert_eq!(expand(text, known), expected, "{text}");
        }
    }
}
