//! Discovery of what other servers serve, beside our own: their groups, and their resources as they were last told. One
//! that is dead stays in it, marked as stale.

use std::sync::Arc;

use kontiki_apiserver::ApiServer;
use kontiki_apiserver::aggregation::{Delegation, Description};
use serde_json::{Value, json};

/// The groups that only other servers serve, in order, each with its versions.
fn groups(api: &ApiServer) -> Vec<(String, Vec<Delegation>)> {
    let own = api.kinds();
    let mut groups: Vec<(String, Vec<Delegation>)> = Vec::new();
    for delegation in api.delegations() {
        if own.has_group(&delegation.group) {
            continue;
        }
        match groups
            .iter_mut()
            .find(|(group, _)| *group == delegation.group)
        {
            Some((_, versions)) => versions.push(delegation),
            None => groups.push((delegation.group.clone(), vec![delegation])),
        }
    }
    groups
}

fn api_group(group: &str, versions: &[Delegation]) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .map(|it| json!({"groupVersion": format!("{group}/{}", it.version), "version": it.version}))
        .collect();
    json!({"name": group, "versions": versions, "preferredVersion": versions.first()})
}

/// The document of a path, when it is `/apis/GROUP` of a group that another server serves.
pub fn group(api: &ApiServer, path: &str) -> Option<Value> {
    let name = path.strip_prefix("/apis/")?.trim_end_matches('/');
    let groups = groups(api);
    let (group, versions) = groups.iter().find(|(group, _)| group == name)?;
    let mut document = api_group(group, versions);
    document["kind"] = "APIGroup".into();
    document["apiVersion"] = "v1".into();
    Some(document)
}

/// The OpenAPI document of a path, when it is that of a version that another server serves.
pub fn description(api: &ApiServer, path: &str) -> Option<Arc<Description>> {
    let (group, version) = path.strip_prefix("/openapi/v3/apis/")?.split_once('/')?;
    let mut all = api.descriptions().into_iter();
    all.find(|it| it.group == group && it.version == version.trim_end_matches('/'))
}

/// Adds them to `/apis`.
pub fn group_list(api: &ApiServer, mut document: Value) -> Value {
    if let Some(list) = document["groups"].as_array_mut() {
        list.extend(
            groups(api)
                .iter()
                .map(|(group, versions)| api_group(group, versions)),
        );
    }
    document
}

/// Adds them to the aggregated form of `/apis`; none when there are none.
pub fn with_groups(api: &ApiServer, document: impl Fn() -> Value) -> Option<Value> {
    let groups = groups(api);
    if groups.is_empty() {
        return None;
    }
    let mut document = document();
    if let Some(items) = document["items"].as_array_mut() {
        items.extend(
            groups
                .iter()
                .map(|(group, versions)| item(api, group, versions)),
        );
    }
    Some(document)
}

fn item(api: &ApiServer, group: &str, versions: &[Delegation]) -> Value {
    let versions = versions.iter().map(|delegation| {
        let list = api.discovered(delegation);
        let is_current = delegation.is_available && list.is_some();
        let resources = list.map(|list| resources(group, &delegation.version, &list));
        json!({
            "version": delegation.version,
            "resources": resources.unwrap_or_default(),
            "freshness": if is_current { "Current" } else { "Stale" },
        })
    });
    let versions: Vec<Value> = versions.collect();
    json!({"metadata": {"name": group, "creationTimestamp": null}, "versions": versions})
}

/// From an APIResourceList to the aggregated form.
fn resources(group: &str, version: &str, list: &Value) -> Vec<Value> {
    let all = list["resources"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let kind_of = |resource: &Value| {
        let or = |field: &str, otherwise: &str| {
            let found = resource[field].as_str().unwrap_or_default();
            if found.is_empty() {
                otherwise.to_owned()
            } else {
                found.to_owned()
            }
        };
        json!({"group": or("group", group), "version": or("version", version), "kind": resource["kind"]})
    };
    let mut found: Vec<Value> = Vec::new();
    for resource in all {
        let name = resource["name"].as_str().unwrap_or_default();
        if let Some((parent, subresource)) = name.split_once('/') {
            let parent = found.iter_mut().find(|known| known["resource"] == parent);
            let entry = json!({
                "subresource": subresource, "responseKind": kind_of(resource), "verbs": resource["verbs"],
            });
            if let Some(list) = parent.and_then(|parent| parent["subresources"].as_array_mut()) {
                list.push(entry);
            }
            continue;
        }
        let mut entry = json!({
            "resource": name,
            "responseKind": kind_of(resource),
            "scope": if resource["namespaced"] == true { "Namespaced" } else { "Cluster" },
            "singularResource": resource["singularName"],
            "verbs": resource["verbs"],
            "subresources": [],
        });
        for field in ["shortNames", "categories"] {
            if !resource[field].is_null() {
                entry[field] = resource[field].clone();
            }
        }
        found.push(entry);
    }
    for entry in &mut found {
        if entry["subresources"].as_array().is_some_and(Vec::is_empty) {
            entry
                .as_object_mut()
                .map(|entry| entry.remove("subresources"));
        }
    }
    found
}
