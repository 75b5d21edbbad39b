//! OpenAPI v3 documents, one for each group version, as kubectl reads them: for `explain`, for field validation, for
//! list and merge rules.
//!
//! Made on demand and not kept: the descriptions alone are larger than all that a replica holds of the kinds. Not here:
//! serving, hashes and caching (gateway).

use serde_json::{Map, Value, json};

use crate::discovery::kinds_of;
use crate::registry::Kinds;

mod connect;
mod operations;
mod paths;
mod schemas;

/// What the documents call the server's version.
pub const VERSION: &str = "v1.35.0";

/// The document of one group version; without paths when nothing of it is served.
pub fn openapi_v3(kinds: &Kinds, group: &str, version: &str) -> Value {
    let mut all_paths = Map::new();
    let mut components = schemas::Components::default();
    for kind in kinds_of(kinds, group, version) {
        components.add(kind);
        paths::add(kind, &mut all_paths);
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": VERSION},
        "paths": all_paths,
        "components": {
            "schemas": components.into_schemas(),
            "securitySchemes": {"BearerToken": {
                "type": "apiKey",
                "description": "Bearer Token authentication",
                "name": "authorization",
                "in": "header",
            }},
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::group_versions;

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    found.push(reference.clone());
                }
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_resolves_in_every_document() {
        let kinds = Kinds::built_in();
        for (group, version) in group_versions(&kinds) {
            let document = openapi_v3(&kinds, group, version);
            let schemas = document["components"]["schemas"].as_object().unwrap();
            let mut found = Vec::new();
            references(&document, &mut found);
            assert!(!found.is_empty());
            for reference in found {
                let name = reference.strip_prefix("#/components/schemas/").unwrap();
                assert!(schemas.contains_key(name), "{group}/{version}: {reference}");
            }
        }
    }

    #[test]
    fn writes_take_field_validation_and_name_their_kind() {
        let document = openapi_v3(&Kinds::built_in(), "apps", "v1");
        let path = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"];
        let patch = &path["patch"];
        let names: Vec<&str> = patch["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|parameter| parameter["name"].as_str())
            .collect();
        for name in ["dryRun", "fieldManager", "fieldValidation", "force"] {
            assert!(names.contains(&name), "{name}");
        }
        assert_eq!(patch["x-kubernetes-action"], "patch");
        assert_eq!(
            patch["x-kubernetes-group-version-kind"],
            json!({"group": "apps", "version": "v1", "kind": "Deployment"})
        );
    }

    #[test]
    fn a_kind_within_another_groups_is_named_there_too() {
        let document = openapi_v3(&Kinds::built_in(), "apps", "v1");
        let claim = &document["components"]["schemas"]["io.k8s.api.core.v1.PersistentVolumeClaim"];
        let expected = json!([{"group": "", "version": "v1", "kind": "PersistentVolumeClaim"}]);
        assert_eq!(claim["x-kubernetes-group-version-kind"], expected);
    }

    #[test]
    fn schemas_carry_list_rules_and_kinds() {
        let document = openapi_v3(&Kinds::built_in(), "", "v1");
        let schemas = &document["components"]["schemas"];
        let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
        assert_eq!(containers["x-kubernetes-list-type"], "map");
        assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
        assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
        let pod = &schemas["io.k8s.api.core.v1.Pod"];
        assert_eq!(pod["x-kubernetes-group-version-kind"][0]["kind"], "Pod");
        let selector = &schemas["io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector"];
        assert_eq!(selector["x-kubernetes-map-type"], "atomic");
    }
}
