//! Discovery: which groups, versions and resources there are, in upstream's two forms (one document a group-version,
//! or all in one), both made from the kinds once.

use http::header::{CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, VARY};
use http::{HeaderMap, StatusCode};
use kontiki_api::{KINDS, Kind, Subresource};
use kontiki_base::status::Status;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::accept::{self, Format};
use crate::path;
use crate::respond::{self, Response, Style};

/// Echoed in full: clients read a bare `application/json` as the older form.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// A document with its entity tag.
struct Tagged {
    bytes: bytes::Bytes,
    etag: String,
}

impl Tagged {
    fn new(document: &Value) -> Self {
        let bytes = document.to_string().into_bytes();
        let etag = format!("\"{}\"", hex(&Sha256::digest(&bytes)).to_uppercase());
        Self { bytes: bytes.into(), etag }
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// All discovery documents that do not depend on the request.
pub struct Discovery {
    advertise: String,
    core: Tagged,
    groups: Tagged,
}

impl Discovery {
    /// Made once, at the start.
    pub fn new(advertise: &str) -> Self {
        let core = aggregated(group_versions().iter().filter(|(group, _)| group.is_empty()));
        let groups = aggregated(group_versions().iter().filter(|(group, _)| !group.is_empty()));
        Self {
            advertise: advertise.to_owned(),
            core: Tagged::new(&core),
            groups: Tagged::new(&groups),
        }
    }

    /// `/api`.
    pub fn core_versions(&self, headers: &HeaderMap) -> Result<Response, Status> {
        if wants_aggregated(headers) {
            return Ok(tagged(&self.core, headers));
        }
        let versions: Vec<&str> = versions_of("").collect();
        answer(
            &json!({
                "kind": "APIVersions",
                "versions": versions,
                "serverAddressByClientCIDRs": [
                    {"clientCIDR": "0.0.0.0/0", "serverAddress": self.advertise},
                ],
            }),
            headers,
        )
    }

    /// `/apis`.
    pub fn groups(&self, headers: &HeaderMap) -> Result<Response, Status> {
        if wants_aggregated(headers) {
            return Ok(tagged(&self.groups, headers));
        }
        let mut names: Vec<&str> = Vec::new();
        for (group, _) in group_versions() {
            if !group.is_empty() && !names.contains(&group) {
                names.push(group);
            }
        }
        let groups: Vec<Value> = names.into_iter().map(group_document).collect();
        answer(&json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}), headers)
    }

    /// `/apis/GROUP`.
    pub fn group(&self, group: &str, headers: &HeaderMap) -> Result<Response, Status> {
        let mut document = group_document(group);
        document["kind"] = "APIGroup".into();
        document["apiVersion"] = "v1".into();
        answer(&document, headers)
    }

    /// `/api/v1`, `/apis/GROUP/VERSION`.
    pub fn resources(
        &self,
        group: &str,
        version: &str,
        headers: &HeaderMap,
    ) -> Result<Response, Status> {
        let kinds = kinds_of(group, version);
        let resources: Vec<Value> = kinds.flat_map(resource_documents).collect();
        if resources.is_empty() {
            return Err(path::no_such_resource());
        }
        let mut document = json!({
            "kind": "APIResourceList",
            "groupVersion": group_version(group, version),
            "resources": resources,
        });
        if !group.is_empty() {
            document["apiVersion"] = "v1".into();
        }
        answer(&document, headers)
    }
}

/// Groups and versions in the order of the kinds, each once.
pub fn group_versions() -> Vec<(&'static str, &'static str)> {
    let mut seen = Vec::new();
    for kind in KINDS {
        if !seen.contains(&(kind.group, kind.version)) {
            seen.push((kind.group, kind.version));
        }
    }
    seen
}

/// `apps/v1`, or `v1` for the core group.
pub fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

fn kinds_of(group: &str, version: &str) -> impl Iterator<Item = &'static Kind> {
    KINDS.iter().copied().filter(move |kind| kind.group == group && kind.version == version)
}

fn versions_of(group: &str) -> impl Iterator<Item = &'static str> {
    group_versions().into_iter().filter(move |(of, _)| *of == group).map(|(_, version)| version)
}

fn group_document(group: &str) -> Value {
    let versions: Vec<Value> = versions_of(group)
        .map(|version| json!({"groupVersion": group_version(group, version), "version": version}))
        .collect();
    let preferred = versions.first().cloned();
    json!({"name": group, "versions": versions, "preferredVersion": preferred})
}

fn resource_documents(kind: &'static Kind) -> Vec<Value> {
    let mut document = json!({
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": verbs(kind),
        "storageVersionHash": storage_hash(kind),
    });
    if !kind.short_names.is_empty() {
        document["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        document["categories"] = json!(kind.categories);
    }
    let mut documents = vec![document];
    for subresource in kind.subresources {
        let (group, version, of_kind) = subresource_kind(kind, *subresource);
        let mut document = json!({
            "name": format!("{}/{}", kind.plural, subresource.name()),
            "singularName": "",
            "namespaced": kind.namespaced,
            "kind": of_kind,
            "verbs": subresource.verbs(),
        });
        if (group, version) != (kind.group, kind.version) {
            document["group"] = group.into();
            document["version"] = version.into();
        }
        documents.push(document);
    }
    documents
}

fn aggregated<'a>(group_versions: impl Iterator<Item = &'a (&'static str, &'static str)>) -> Value {
    let mut items: Vec<Value> = Vec::new();
    for (group, version) in group_versions {
        let resources: Vec<Value> = kinds_of(group, version).map(aggregated_resource).collect();
        let version =
            json!({"version": version, "resources": resources, "freshness": "Current"});
        match items.iter_mut().find(|item| item["metadata"]["name"] == *group) {
            Some(item) => item["versions"].as_array_mut().into_iter().for_each(|list| list.push(version.clone())),
            None => items.push(json!({
                "metadata": {"name": group, "creationTimestamp": null},
                "versions": [version],
            })),
        }
    }
    // The core group has no name at all.
    for item in &mut items {
        if item["metadata"]["name"] == "" {
            item["metadata"] = json!({"creationTimestamp": null});
        }
    }
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    })
}

fn aggregated_resource(kind: &'static Kind) -> Value {
    let response_kind = |(group, version, kind): (&str, &str, &str)| {
        json!({"group": group, "version": version, "kind": kind})
    };
    let subresources: Vec<Value> = kind
        .subresources
        .iter()
        .map(|subresource| {
            json!({
                "subresource": subresource.name(),
                "responseKind": response_kind(subresource_kind(kind, *subresource)),
                "verbs": subresource.verbs(),
            })
        })
        .collect();
    let mut document = json!({
        "resource": kind.plural,
        "responseKind": response_kind((kind.group, kind.version, kind.kind)),
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular,
        "verbs": verbs(kind),
    });
    for (key, list) in [("shortNames", kind.short_names), ("categories", kind.categories)] {
        if !list.is_empty() {
            document[key] = json!(list);
        }
    }
    if !subresources.is_empty() {
        document["subresources"] = subresources.into();
    }
    document
}

/// What may be done with a kind's objects.
pub fn verbs(kind: &Kind) -> Vec<&'static str> {
    let all = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    all.into_iter().filter(|verb| *verb != "deletecollection" || may_delete_collection(kind)).collect()
}

/// A namespace's deletion is a process of its own: upstream never deletes them in bulk.
pub fn may_delete_collection(kind: &Kind) -> bool {
    !(kind.group.is_empty() && kind.plural == "namespaces")
}

/// Group, version and kind of a subresource's body.
fn subresource_kind(
    kind: &'static Kind,
    subresource: Subresource,
) -> (&'static str, &'static str, &'static str) {
    match subresource {
        Subresource::Status | Subresource::Log | Subresource::Finalize => (kind.group, kind.version, kind.kind),
        Subresource::Scale => ("autoscaling", "v1", "Scale"),
        Subresource::Binding => ("", "v1", "Binding"),
        Subresource::Eviction => ("policy", "v1", "Eviction"),
    }
}

/// As upstream: the first eight bytes of the SHA-256 of group/version/kind, in base64.
fn storage_hash(kind: &Kind) -> String {
    use base64::Engine as _;
    let name = format!("{}/{}/{}", kind.group, kind.version, kind.kind);
    base64::prelude::BASE64_STANDARD.encode(&Sha256::digest(name)[..8])
}

fn wants_aggregated(headers: &HeaderMap) -> bool {
    accept::clauses(headers)
        .iter()
        .find_map(|clause| match (clause.kind, clause.group, clause.version) {
            ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2") => Some(true),
            ("", _, _) if clause.media_type == "application/json" => Some(false),
            _ => None,
        })
        .unwrap_or(false)
}

fn tagged(document: &Tagged, headers: &HeaderMap) -> Response {
    let known = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let is_known = known.is_some_and(|tags| tags.split(',').any(|tag| tag.trim() == document.etag));
    let mut response = if is_known {
        respond::text(StatusCode::NOT_MODIFIED, "")
    } else {
        let gzip = Style::of(headers, Format::Json, None).gzip;
        respond::whole(StatusCode::OK, AGGREGATED, document.bytes.clone(), gzip)
    };
    if is_known {
        response.headers_mut().remove(CONTENT_TYPE);
    }
    if let Ok(etag) = HeaderValue::try_from(&document.etag) {
        response.headers_mut().insert(ETAG, etag);
    }
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    response
}

fn answer(document: &Value, headers: &HeaderMap) -> Result<Response, Status> {
    let style = Style::of(headers, accept::negotiate_plain(headers)?, None);
    let mut response = respond::value(StatusCode::OK, document, style);
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}
