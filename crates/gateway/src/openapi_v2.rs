//! OpenAPI v2: one document of all group-versions, made of those of v3 at first use, in JSON and in gnostic's protobuf.
//!
//! Older kubectl and client-go ask for the protobuf form only; Terraform reads the JSON.

mod gnostic;

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{ETAG, HeaderValue, IF_NONE_MATCH, VARY};
use http::{HeaderMap, StatusCode};
use kontiki_api::Kinds;
use kontiki_api::discovery::group_versions;
use kontiki_apiserver::aggregation::Description;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::accept::{self, Format};
use crate::discovery::hex;
use crate::respond::{self, Response, Style};

const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
const OPERATIONS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

/// The document in both forms, of the kinds that were served when it was last asked for.
#[derive(Default)]
pub struct OpenApiV2(Mutex<Option<Made>>);

struct Made {
    kinds: Kinds,
    /// Hashes of the documents of aggregated servers.
    others: Vec<String>,
    forms: Arc<Forms>,
}

struct Forms {
    json: Bytes,
    protobuf: Bytes,
    etag: String,
}

impl OpenApiV2 {
    fn forms(&self, kinds: &Kinds, others: &[Arc<Description>]) -> Arc<Forms> {
        let hashes: Vec<String> = others.iter().map(|other| other.hash.clone()).collect();
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = &*made
            && made.kinds.is_same(kinds)
            && made.others == hashes
        {
            return Arc::clone(&made.forms);
        }
        let versions = group_versions(kinds).into_iter();
        let all = versions
            .map(|(group, version)| kontiki_api::openapi::openapi_v3(kinds, group, version));
        // Ours comes last: nobody else says what our types are.
        let others = others.iter().filter_map(|other| of_other(other));
        let document = document(others.chain(all));
        let json = Bytes::from(document.to_string());
        let etag = format!("\"{}\"", hex(&Sha256::digest(&json)).to_uppercase());
        let protobuf = gnostic::encode(&document).into();
        let forms = Arc::new(Forms {
            json,
            protobuf,
            etag,
        });
        *made = Some(Made {
            kinds: kinds.clone(),
            others: hashes,
            forms: Arc::clone(&forms),
        });
        forms
    }

    /// `/openapi/v2`.
    pub fn answer(
        &self,
        kinds: &Kinds,
        others: &[Arc<Description>],
        headers: &HeaderMap,
    ) -> Response {
        let forms = self.forms(kinds, others);
        let wants_protobuf = wants_protobuf(headers);
        let is_known = headers
            .get(IF_NONE_MATCH)
            .is_some_and(|tag| tag == forms.etag.as_str());
        let gzip = Style::of(headers, Format::Json, None).gzip;
        let mut response = match (is_known, wants_protobuf) {
            (true, _) => respond::text(StatusCode::NOT_MODIFIED, ""),
            (_, true) => respond::whole(StatusCode::OK, PROTOBUF, forms.protobuf.clone(), gzip),
            (_, false) => {
                let content_type = Format::Json.content_type();
                respond::whole(StatusCode::OK, content_type, forms.json.clone(), gzip)
            }
        };
        if let Ok(etag) = HeaderValue::try_from(forms.etag.as_str()) {
            response.headers_mut().insert(ETAG, etag);
        }
        response
            .headers_mut()
            .insert(VARY, HeaderValue::from_static("Accept"));
        response
    }
}

/// What an aggregated server says of the paths that are its own.
fn of_other(other: &Description) -> Option<Value> {
    let mut document: Value = serde_json::from_slice(&other.json).ok()?;
    let own = format!("/apis/{}/{}/", other.group, other.version);
    let paths = document["paths"].as_object_mut()?;
    paths.retain(|path, _| path.starts_with(&own));
    Some(document)
}

/// Whether the first form that the client names is gnostic's.
fn wants_protobuf(headers: &HeaderMap) -> bool {
    let clauses = accept::clauses(headers);
    let named = clauses.iter().find_map(|clause| match clause.media_type {
        "application/com.github.proto-openapi.spec.v2@v1.0+protobuf" | PROTOBUF => Some(true),
        "application/json" | "*/*" | "application/*" => Some(false),
        _ => None,
    });
    named == Some(true)
}

fn document(versions: impl Iterator<Item = Value>) -> Value {
    let (mut paths, mut definitions) = (Map::new(), Map::new());
    let mut info = Value::Null;
    for mut version in versions {
        info = version["info"].take();
        for (name, found) in fields(&version["paths"]) {
            paths.insert(name.clone(), path(found));
        }
        for (name, found) in fields(&version["components"]["schemas"]) {
            definitions.insert(name.clone(), definition(found));
        }
    }
    json!({"swagger": "2.0", "info": info, "paths": paths, "definitions": definitions})
}

fn fields(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn path(found: &Value) -> Value {
    let mut path = Map::new();
    for name in OPERATIONS {
        if let Some(found) = found.get(name) {
            path.insert(name.to_owned(), operation(found));
        }
    }
    if let Some(found) = found["parameters"].as_array() {
        let parameters: Vec<Value> = found.iter().map(parameter).collect();
        path.insert("parameters".into(), parameters.into());
    }
    path.into()
}

fn operation(found: &Value) -> Value {
    let mut operation = found.as_object().cloned().unwrap_or_default();
    let parameters = found["parameters"].as_array().into_iter().flatten();
    let mut parameters: Vec<Value> = parameters.map(parameter).collect();
    if let Some(body) = operation.remove("requestBody") {
        let consumes: Vec<&String> = fields(&body["content"]).map(|(name, _)| name).collect();
        operation.insert("consumes".into(), json!(consumes));
        let of_body = content_schema(&body).unwrap_or_else(|| json!({"type": "object"}));
        parameters.push(json!({
            "name": "body",
            "in": "body",
            "required": body["required"].as_bool().unwrap_or(false),
            "schema": of_body,
        }));
    }
    if !parameters.is_empty() {
        operation.insert("parameters".into(), parameters.into());
    }
    let (mut responses, mut produces) = (Map::new(), Vec::new());
    for (code, found) in fields(&found["responses"]) {
        let mut response = json!({"description": found["description"]});
        if let Some(schema) = content_schema(found) {
            response["schema"] = schema;
            produces = fields(&found["content"]).map(|(name, _)| name).collect();
        }
        responses.insert(code.clone(), response);
    }
    operation.insert("produces".into(), json!(produces));
    operation.insert("responses".into(), responses.into());
    operation.insert("schemes".into(), json!(["https"]));
    operation.into()
}

/// The schema of a body: the same in each of its media types.
fn content_schema(body: &Value) -> Option<Value> {
    let (_, content) = fields(&body["content"]).next()?;
    content.get("schema").map(schema)
}

/// What v3 says in a `schema`, v2 says beside the name.
fn parameter(found: &Value) -> Value {
    let mut parameter = found.as_object().cloned().unwrap_or_default();
    if let Some(Value::Object(of)) = parameter.remove("schema") {
        parameter.extend(of);
    }
    parameter.into()
}

const GROUP_VERSION_KIND: &str = "x-kubernetes-group-version-kind";
const PRESERVE_UNKNOWN: &str = "x-kubernetes-preserve-unknown-fields";

/// A kind that keeps unknown fields names none at all: older kubectl refuses what a schema with fields does not name
/// (upstream's `controller/openapi/builder`).
fn definition(found: &Value) -> Value {
    if found.get(GROUP_VERSION_KIND).is_some() && found[PRESERVE_UNKNOWN] == true {
        return json!({"type": "object", GROUP_VERSION_KIND: found[GROUP_VERSION_KIND]});
    }
    schema(found)
}

/// What v2, or kubectl's reader of it, cannot say about a value that may be null or may have unknown fields
/// (upstream's `ToStructuralOpenAPIV2`).
fn loosen(schema: &mut Map<String, Value>) {
    let is_true = |schema: &Map<String, Value>, name: &str| schema.get(name) == Some(&true.into());
    let is_nullable = is_true(schema, "nullable");
    let is_open = is_true(schema, PRESERVE_UNKNOWN);
    if is_nullable || is_open {
        schema.remove("items");
        schema.remove("properties");
    }
    let type_ = schema.get("type").and_then(Value::as_str);
    let is_bare_list = type_ == Some("array") && !schema.contains_key("items");
    if is_nullable || is_bare_list || is_open && type_ == Some("object") {
        schema.remove("type");
    }
    let nullable: Vec<String> = schema
        .get("properties")
        .map(fields)
        .into_iter()
        .flatten()
        .filter(|(_, field)| field["nullable"] == true)
        .map(|(name, _)| name.clone())
        .collect();
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        required.retain(|name| !nullable.iter().any(|nullable| name == nullable));
        if required.is_empty() {
            schema.remove("required");
        }
    }
}

fn schema(found: &Value) -> Value {
    let mut schema = found.as_object().cloned().unwrap_or_default();
    loosen(&mut schema);
    // A reference with a description: in v3 wrapped, in v2 beside each other.
    if let Some(Value::Array(wrapped)) = schema.remove("allOf")
        && let Some(reference) = wrapped.first().and_then(|first| first.get("$ref"))
    {
        schema.insert("$ref".into(), reference.clone());
        schema.remove("default");
    }
    if let Some(Value::String(reference)) = schema.get_mut("$ref") {
        *reference = reference.replace("#/components/schemas/", "#/definitions/");
    }
    // Numbers or text: v2 has no alternatives.
    if schema.remove("oneOf").is_some() {
        schema.entry("type").or_insert_with(|| "string".into());
    }
    for name in ["anyOf", "not", "nullable"] {
        schema.remove(name);
    }
    for name in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get_mut(name).filter(|inner| inner.is_object()) {
            *inner = self::schema(inner);
        }
    }
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for inner in properties.values_mut() {
            *inner = self::schema(inner);
        }
    }
    schema.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_parameters_and_alternatives_are_v2s() {
        let wrapped = json!({"allOf": [{"$ref": "#/components/schemas/A"}], "default": {},
            "description": "d"});
        let expected = json!({"$ref": "#/definitions/A", "description": "d"});
        assert_eq!(schema(&wrapped), expected);
        let either = json!({"oneOf": [{"type": "integer"}, {"type": "string"}],
            "format": "int-or-string"});
        let expected = json!({"type": "string", "format": "int-or-string"});
        assert_eq!(schema(&either), expected);
        let query = json!({"in": "query", "name": "n", "schema": {"type": "string"}});
        let expected = json!({"in": "query", "name": "n", "type": "string"});
        assert_eq!(parameter(&query), expected);
    }

    #[test]
    fn what_may_be_unknown_or_null_is_not_described() {
        let of_kind = json!([{"group": "g", "version": "v", "kind": "K"}]);
        let open = json!({"type": "object", PRESERVE_UNKNOWN: true, "properties": {"a": {"type": "string"}},
            GROUP_VERSION_KIND: of_kind});
        let expected = json!({"type": "object", GROUP_VERSION_KIND: of_kind});
        assert_eq!(definition(&open), expected);
        let nested = json!({"type": "object", "required": ["a", "n"], "properties": {
            "a": {"type": "object", PRESERVE_UNKNOWN: true, "properties": {"b": {"type": "string"}}},
            "l": {"type": "array"},
            "n": {"type": "object", "nullable": true, "properties": {"b": {"type": "string"}}},
        }});
        let expected = json!({"type": "object", "required": ["a"], "properties": {
            "a": {PRESERVE_UNKNOWN: true},
            "l": {},
            "n": {},
        }});
        assert_eq!(definition(&nested), expected);
    }

    #[test]
    fn each_kind_is_defined_and_patched_with_field_validation() {
        let forms = OpenApiV2::default();
        let document: Value =
            serde_json::from_slice(&forms.forms(&Kinds::built_in(), &[]).json).unwrap();
        let definition = &document["definitions"]["io.k8s.api.apps.v1.Deployment"];
        assert_eq!(
            definition["x-kubernetes-group-version-kind"][0]["kind"],
            "Deployment"
        );
        let patch = &document["paths"]["/api/v1/namespaces/{name}"]["patch"];
        let parameters = patch["parameters"].as_array().unwrap();
        assert!(parameters.iter().any(|p| p["name"] == "fieldValidation"));
        assert!(!document.to_string().contains("#/components/"));
    }
}
