//! Component schemas: schemars' definitions in OpenAPI's dialect, with Kubernetes' extensions.

use std::collections::BTreeMap;

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::api::core::v1::Binding;
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ListMeta, ObjectMeta, Status};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::kind::{Gvk, Kind, Subresource};
use crate::kinds::KINDS;
use crate::schema::compile::{generate, reference};
use crate::schema::{ListRule, Merge, is_atomic, rule};

const GROUP_VERSION_KIND: &str = "x-kubernetes-group-version-kind";
const COMPONENTS: &str = "#/components/schemas/";
pub(super) const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";

/// `{"$ref": ...}` to a component.
pub(super) fn component(definition: &str) -> Value {
    json!({"$ref": format!("{COMPONENTS}{definition}")})
}

/// The definition name of a type.
pub(super) fn definition_of<T: JsonSchema>() -> String {
    T::schema_name().into_owned()
}

/// The definition name of a kind, and of its list.
pub(super) fn definition(kind: &Kind) -> String {
    match kind {
        Kind::BuiltIn(kind) => {
            let (root, _) = generate(kind);
            reference(&root).unwrap_or_default().to_owned()
        }
        Kind::Custom(kind) => kind.schema_name(),
    }
}

/// The definition of what a subresource reads and writes.
pub(super) fn subresource_definition(
    kind: &Kind,
    definition: &str,
    subresource: Subresource,
) -> String {
    debug_assert!(kind.has(subresource));
    match subresource {
        Subresource::Scale => definition_of::<Scale>(),
        Subresource::Binding => definition_of::<Binding>(),
        Subresource::Eviction => definition_of::<Eviction>(),
        Subresource::Token => definition_of::<TokenRequest>(),
        Subresource::Status
        | Subresource::Log
        | Subresource::Finalize
        | Subresource::Approval
        | Subresource::Exec
        | Subresource::Attach
        | Subresource::PortForward
        | Subresource::Proxy
        | Subresource::EphemeralContainers
        | Subresource::Resize => definition.to_owned(),
    }
}

/// The schemas of one document.
#[derive(Default)]
pub(super) struct Components(BTreeMap<String, Value>);

impl Components {
    /// Adds a kind, its list, and what its verbs speak of.
    pub(super) fn add(&mut self, kind: &Kind) {
        let definition = match kind {
            Kind::BuiltIn(kind) => {
                let (root, definitions) = generate(kind);
                self.convert_all(definitions);
                let Some(definition) = reference(&root) else {
                    return;
                };
                definition.to_owned()
            }
            Kind::Custom(kind) => {
                self.add_type::<ObjectMeta>(None);
                self.0.insert(kind.schema_name(), kind.openapi());
                kind.schema_name()
            }
        };
        let definition = definition.as_str();
        let Gvk { group, version, .. } = kind.gvk();
        if kind.review().is_none() {
            let list_kind = kind.list_kind();
            let list = Gvk {
                kind: &list_kind,
                ..kind.gvk()
            };
            let list = list_schema(definition, gvk_list(list));
            self.0.insert(format!("{definition}List"), list);
        }
        if let Some(schema) = self.0.get_mut(definition) {
            schema[GROUP_VERSION_KIND] = gvk_list(kind.gvk());
        }
        self.add_type::<ListMeta>(None);
        self.add_type::<Status>(Some(("", "v1", "Status")));
        self.add_type::<DeleteOptions>(Some((group, version, "DeleteOptions")));
        for subresource in kind.subresources() {
            match subresource {
                Subresource::Scale => self.add_type::<Scale>(Some(("autoscaling", "v1", "Scale"))),
                Subresource::Binding => self.add_type::<Binding>(Some(("", "v1", "Binding"))),
                Subresource::Eviction => {
                    self.add_type::<Eviction>(Some(("policy", "v1", "Eviction")));
                }
                Subresource::Token => {
                    let gvk = ("authentication.k8s.io", "v1", "TokenRequest");
                    self.add_type::<TokenRequest>(Some(gvk));
                }
                Subresource::Status
                | Subresource::Log
                | Subresource::Finalize
                | Subresource::Approval
                | Subresource::Exec
                | Subresource::Attach
                | Subresource::PortForward
                | Subresource::Proxy
                | Subresource::EphemeralContainers
                | Subresource::Resize => {}
            }
        }
        let patch = json!({
            "description": "Patch is provided to give a concrete name and type to the Kubernetes \
                            PATCH request body.",
            "type": "object",
        });
        self.0.insert(PATCH.to_owned(), patch);
    }

    fn add_type<T: JsonSchema>(&mut self, gvk: Option<(&str, &str, &str)>) {
        let mut generator = SchemaSettings::draft2020_12().into_generator();
        generator.subschema_for::<T>();
        self.convert_all(generator.take_definitions(false));
        if let (Some((group, version, kind)), Some(schema)) =
            (gvk, self.0.get_mut(T::schema_name().as_ref()))
        {
            schema[GROUP_VERSION_KIND] = gvk_list(Gvk {
                group,
                version,
                kind,
            });
        }
    }

    fn convert_all(&mut self, definitions: Map<String, Value>) {
        for (definition, schema) in definitions {
            let entry = self.0.entry(definition);
            entry.or_insert_with_key(|definition| convert_definition(definition, schema));
        }
    }

    pub(super) fn into_schemas(self) -> Value {
        let named = self.0.into_iter().map(|(name, mut schema)| {
            // A kind of another group that is within one of these: clients look for a kind in any document.
            if schema.get(GROUP_VERSION_KIND).is_none()
                && let Some(kind) = kind_of(&name)
            {
                schema[GROUP_VERSION_KIND] = gvk_list(kind.gvk());
            }
            (name, schema)
        });
        named.collect::<Map<String, Value>>().into()
    }
}

/// The kind that a definition is of, such as `io.k8s.api.core.v1.PersistentVolumeClaim`.
fn kind_of(definition: &str) -> Option<&'static Kind> {
    let parts: Vec<&str> = definition.strip_prefix("io.k8s.api.")?.split('.').collect();
    let [group, version, name] = parts.as_slice() else {
        return None;
    };
    let mut kinds = KINDS.iter().copied();
    kinds.find(|kind| {
        let of_kind = kind.group().split('.').next().unwrap_or_default();
        let of_kind = if of_kind.is_empty() { "core" } else { of_kind };
        (of_kind, kind.version(), kind.kind()) == (*group, *version, *name)
    })
}

fn gvk_list(
    Gvk {
        group,
        version,
        kind,
    }: Gvk<'_>,
) -> Value {
    json!([{"group": group, "version": version, "kind": kind}])
}

fn list_schema(definition: &str, gvk: Value) -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    let metadata = "Standard list metadata. More info: https://git.k8s.io/community/contributors/\
                    devel/sig-architecture/api-conventions.md#types-kinds";
    json!({
        "type": "object",
        "description": format!("{} is a list of objects.", definition.rsplit('.').next()
            .map(|name| format!("{name}List")).unwrap_or_default()),
        "required": ["items"],
        "properties": {
            "apiVersion": text("APIVersion defines the versioned schema of this representation of \
                                an object."),
            "kind": text("Kind is a string value representing the REST resource this object \
                          represents."),
            "metadata": {
                "description": metadata,
                "default": {},
                "allOf": [component(&definition_of::<ListMeta>())],
            },
            "items": {
                "type": "array",
                "description": "List of objects.",
                "items": {"default": {}, "allOf": [component(definition)]},
            },
        },
        "x-kubernetes-group-version-kind": gvk,
    })
}

fn convert_definition(definition: &str, mut schema: Value) -> Value {
    let description = schema.get("description").cloned().unwrap_or_default();
    match definition.rsplit('.').next() {
        Some("Quantity") => {
            return json!({
                "description": description,
                "oneOf": [{"type": "string"}, {"type": "number"}],
            });
        }
        Some("IntOrString") => {
            return json!({
                "description": description,
                "format": "int-or-string",
                "oneOf": [{"type": "integer"}, {"type": "string"}],
            });
        }
        // Upstream says no more of these.
        Some(
            "JSON"
            | "JSONSchemaPropsOrArray"
            | "JSONSchemaPropsOrBool"
            | "JSONSchemaPropsOrStringArray",
        ) => return json!({"description": description}),
        _ => {}
    }
    if is_atomic(definition) {
        schema["x-kubernetes-map-type"] = "atomic".into();
    }
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for (field, property) in properties {
            convert(property);
            extend(definition, field, property);
        }
    } else {
        convert(&mut schema);
    }
    schema
}

/// Rewrites references; OpenAPI 3.0 ignores what stands beside one, hence `allOf`.
fn convert(schema: &mut Value) {
    if let Some(definition) = reference(schema).map(str::to_owned) {
        let description = schema.get("description").cloned();
        *schema = json!({"allOf": [component(&definition)]});
        if let Some(description) = description {
            schema["description"] = description;
        }
        return;
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(inner @ Value::Object(_)) = schema.get_mut(inner) {
            convert(inner);
        }
    }
}

/// Adds the list, map and merge rules of a field.
fn extend(definition: &str, field: &str, property: &mut Value) {
    let rule = rule(definition, field);
    if property.get("type").and_then(Value::as_str) == Some("array") {
        let list_type = match rule.list {
            ListRule::Atomic => "atomic",
            ListRule::Set => "set",
            ListRule::Map(keys) => {
                property["x-kubernetes-list-map-keys"] = json!(keys);
                "map"
            }
        };
        property["x-kubernetes-list-type"] = list_type.into();
    }
    if rule.atomic {
        property["x-kubernetes-map-type"] = "atomic".into();
    }
    let strategy = match (rule.merge.is_some(), rule.retain_keys) {
        (true, true) => "merge,retainKeys",
        (true, false) => "merge",
        (false, true) => "retainKeys",
        (false, false) => return,
    };
    property["x-kubernetes-patch-strategy"] = strategy.into();
    if let Some(Merge::Key(key)) = rule.merge {
        property["x-kubernetes-patch-merge-key"] = key.into();
    }
}
