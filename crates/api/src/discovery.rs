//! Discovery documents: `/api`, `/apis`, one resource list per group version, and the aggregated form that kubectl
//! asks for first. All computed from the kinds that are served.

use serde_json::{Value, json};

use crate::kind::{Kind, Subresource};
use crate::registry::Kinds;

/// Verbs of every kind, as discovery lists them.
pub const VERBS: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// What may be done with a kind's objects. Reviews are created only; a namespace's deletion is a process of its own: never in bulk, as upstream.
pub fn verbs(kind: &Kind) -> Vec<&'static str> {
    if kind.review().is_some() {
        return vec!["create"];
    }
    if kind.is_observed() {
        return vec!["get", "list"];
    }
    let in_bulk = !(kind.group().is_empty() && kind.plural() == "namespaces");
    VERBS
        .iter()
        .copied()
        .filter(|verb| in_bulk || *verb != "deletecollection")
        .collect()
}

/// Group versions in the order of the kinds.
pub fn group_versions(kinds: &Kinds) -> Vec<(&str, &str)> {
    let mut known = Vec::new();
    for kind in kinds.iter() {
        if !known.contains(&(kind.group(), kind.version())) {
            known.push((kind.group(), kind.version()));
        }
    }
    known
}

/// `v1`, `apps/v1`.
pub fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// The kinds of a group version.
pub fn kinds_of<'a>(
    kinds: &'a Kinds,
    group: &'a str,
    version: &'a str,
) -> impl Iterator<Item = &'a Kind> {
    kinds
        .iter()
        .filter(move |kind| kind.group() == group && kind.version() == version)
}

/// `/api`.
pub fn api_versions(server_address: &str) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [
            {"clientCIDR": "0.0.0.0/0", "serverAddress": server_address},
        ],
    })
}

/// `/apis`.
pub fn api_group_list(kinds: &Kinds) -> Value {
    let groups = named_groups(kinds).into_iter();
    let groups: Vec<Value> = groups.map(|group| api_group(kinds, group)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/{group}`; `None` for a group that is not served.
pub fn group(kinds: &Kinds, group: &str) -> Option<Value> {
    let is_served = !group.is_empty() && kinds.has_group(group);
    let mut document = is_served.then(|| api_group(kinds, group))?;
    document["kind"] = "APIGroup".into();
    document["apiVersion"] = "v1".into();
    Some(document)
}

fn named_groups(kinds: &Kinds) -> Vec<&str> {
    let mut groups: Vec<&str> = Vec::new();
    for (group, _) in group_versions(kinds) {
        if !group.is_empty() && !groups.contains(&group) {
            groups.push(group);
        }
    }
    groups
}

fn api_group(kinds: &Kinds, group: &str) -> Value {
    let versions = group_versions(kinds)
        .into_iter()
        .filter(|(known, _)| *known == group);
    let versions: Vec<Value> = versions
        .map(|(group, version)| {
            json!({"groupVersion": group_version(group, version), "version": version})
        })
        .collect();
    json!({"name": group, "versions": versions, "preferredVersion": versions.first()})
}

/// `/api/v1`, `/apis/{group}/{version}`; `None` when not served.
pub fn resource_list(kinds: &Kinds, group: &str, version: &str) -> Option<Value> {
    let resources: Vec<Value> = kinds_of(kinds, group, version)
        .flat_map(resources)
        .collect();
    (!resources.is_empty()).then(|| {
        json!({
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": group_version(group, version),
            "resources": resources,
        })
    })
}

fn resources(kind: &Kind) -> Vec<Value> {
    let mut resource = json!({
        "name": kind.plural(),
        "singularName": kind.singular(),
        "namespaced": kind.namespaced(),
        "kind": kind.kind(),
        "verbs": verbs(kind),
    });
    if !kind.short_names().is_empty() {
        resource["shortNames"] = json!(kind.short_names());
    }
    if !kind.categories().is_empty() {
        resource["categories"] = json!(kind.categories());
    }
    let mut resources = vec![resource];
    for subresource in kind.subresources() {
        let (group, version, name) = subresource_kind(kind, *subresource);
        let mut resource = json!({
            "name": format!("{}/{}", kind.plural(), subresource.name()),
            "singularName": "",
            "namespaced": kind.namespaced(),
            "kind": name,
            "verbs": subresource.verbs(),
        });
        if (group, version) != (kind.group(), kind.version()) {
            resource["group"] = group.into();
            resource["version"] = version.into();
        }
        resources.push(resource);
    }
    resources
}

/// Group, version and kind of what a subresource reads and writes.
pub fn subresource_kind(kind: &Kind, subresource: Subresource) -> (&str, &str, &str) {
    match subresource {
        Subresource::Scale => ("autoscaling", "v1", "Scale"),
        Subresource::Eviction => ("policy", "v1", "Eviction"),
        Subresource::Binding => ("", "v1", "Binding"),
        Subresource::Token => ("authentication.k8s.io", "v1", "TokenRequest"),
        Subresource::Exec => ("", "v1", "PodExecOptions"),
        Subresource::Attach => ("", "v1", "PodAttachOptions"),
        Subresource::PortForward => ("", "v1", "PodPortForwardOptions"),
        Subresource::Proxy => ("", "v1", proxy_options(kind)),
        Subresource::Status
        | Subresource::Log
        | Subresource::Finalize
        | Subresource::Approval
        | Subresource::EphemeralContainers
        | Subresource::Resize => (kind.group(), kind.version(), kind.kind()),
    }
}

/// The kind of a proxy's options, which differs by what is behind it.
fn proxy_options(kind: &Kind) -> &'static str {
    match kind.plural() {
        "pods" => "PodProxyOptions",
        "services" => "ServiceProxyOptions",
        _ => "NodeProxyOptions",
    }
}

/// Aggregated discovery (`apidiscovery.k8s.io/v2`) of the core group (`/api`) or of all named groups (`/apis`).
pub fn aggregated(kinds: &Kinds, core: bool) -> Value {
    let groups: Vec<&str> = if core { vec![""] } else { named_groups(kinds) };
    let items = groups.into_iter().map(|group| {
        let versions = group_versions(kinds)
            .into_iter()
            .filter(|(known, _)| *known == group);
        let versions: Vec<Value> = versions
            .map(|(group, version)| {
                let resources: Vec<Value> = kinds_of(kinds, group, version)
                    .map(aggregated_resource)
                    .collect();
                json!({"version": version, "resources": resources, "freshness": "Current"})
            })
            .collect();
        let metadata = if group.is_empty() {
            json!({"creationTimestamp": null})
        } else {
            json!({"name": group, "creationTimestamp": null})
        };
        json!({"metadata": metadata, "versions": versions})
    });
    let items: Vec<Value> = items.collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    })
}

fn aggregated_resource(kind: &Kind) -> Value {
    let gvk = |(group, version, kind): (&str, &str, &str)| json!({"group": group, "version": version, "kind": kind});
    let mut resource = json!({
        "resource": kind.plural(),
        "responseKind": gvk((kind.group(), kind.version(), kind.kind())),
        "scope": if kind.namespaced() { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular(),
        "verbs": verbs(kind),
    });
    if !kind.short_names().is_empty() {
        resource["shortNames"] = json!(kind.short_names());
    }
    if !kind.categories().is_empty() {
        resource["categories"] = json!(kind.categories());
    }
    if !kind.subresources().is_empty() {
        let subresources = kind.subresources().iter().map(|subresource| {
            json!({
                "subresource": subresource.name(),
                "responseKind": gvk(subresource_kind(kind, *subresource)),
                "verbs": subresource.verbs(),
            })
        });
        resource["subresources"] = subresources.collect();
    }
    resource
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_discovered_both_ways() {
        let kinds = Kinds::built_in();
        let aggregated = [true, false].map(|core| aggregated(&kinds, core).to_string());
        for kind in kinds.iter() {
            let list = resource_list(&kinds, kind.group(), kind.version()).unwrap();
            let names: Vec<&str> = list["resources"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(|resource| resource["name"].as_str())
                .collect();
            assert!(names.contains(&kind.plural()), "{kind:?}");
            let named = format!("\"resource\":\"{}\"", kind.plural());
            assert!(
                aggregated.iter().any(|list| list.contains(&named)),
                "{kind:?}"
            );
        }
        assert!(resource_list(&kinds, "nope", "v1").is_none());
    }

    #[test]
    fn groups_are_listed() {
        let kinds = Kinds::built_in();
        let listed = api_group_list(&kinds);
        let listed: Vec<&str> = (listed["groups"].as_array().unwrap().iter())
            .map(|group| group["name"].as_str().unwrap())
            .collect();
        // Upstream's order, of those that are served.
        let mut order = vec![
            "apiregistration.k8s.io",
            "apps",
            "events.k8s.io",
            "authentication.k8s.io",
            "authorization.k8s.io",
            "autoscaling",
            "batch",
            "certificates.k8s.io",
            "networking.k8s.io",
            "policy",
            "rbac.authorization.k8s.io",
            "storage.k8s.io",
            "admissionregistration.k8s.io",
            "apiextensions.k8s.io",
            "scheduling.k8s.io",
            "coordination.k8s.io",
            "node.k8s.io",
            "discovery.k8s.io",
            "resource.k8s.io",
            "flowcontrol.apiserver.k8s.io",
            // Of another server there.
            "metrics.k8s.io",
        ];
        order.retain(|group| kinds.has_group(group));
        assert_eq!(listed, order, "each once");
        assert_eq!(
            group(&kinds, "apps").unwrap()["preferredVersion"]["groupVersion"],
            "apps/v1"
        );
        assert!(group(&kinds, "").is_none() && group(&kinds, "nope").is_none());
    }

    #[test]
    fn versions_of_a_group_are_listed_best_first() {
        let kinds = Kinds::built_in();
        let autoscaling = group(&kinds, "autoscaling").unwrap();
        assert_eq!(autoscaling["preferredVersion"]["version"], "v2");
        assert_eq!(
            autoscaling["versions"],
            json!([
                {"groupVersion": "autoscaling/v2", "version": "v2"},
                {"groupVersion": "autoscaling/v1", "version": "v1"},
            ])
        );
        let aggregated = aggregated(&kinds, false);
        let groups = aggregated["items"].as_array().unwrap();
        let found: Vec<&Value> = (groups.iter())
            .filter(|group| group["metadata"]["name"] == "autoscaling")
            .collect();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0]["versions"][1]["version"], "v1");
    }
}
