//! OpenAPI v3: an index of the group-versions with a hash for each, and their documents, made at first use.
//!
//! Clients keep a document for as long as its hash in the index stands.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, ETAG, HeaderValue, IF_NONE_MATCH, LOCATION, VARY};
use http::{HeaderMap, StatusCode};
use kontiki_api::discovery::{group_versions, kinds_of};
use kontiki_api::{Kind, Kinds};
use kontiki_apiserver::aggregation::Description;
use kontiki_base::status::Status;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::accept::{self, Format};
use crate::discovery::hex;
use crate::query::Query;
use crate::respond::{self, Response, Style};

struct Document {
    bytes: Bytes,
    hash: String,
    /// What it is about.
    kinds: Vec<Kind>,
}

type Documents = HashMap<(String, String), Arc<Document>>;

/// The documents of the kinds that were served when they were last asked for.
#[derive(Default)]
pub struct OpenApi(Mutex<(Kinds, Arc<Documents>)>);

impl OpenApi {
    /// All documents. Only those are made anew whose kinds are others than before.
    fn documents(&self, kinds: &Kinds) -> Arc<Documents> {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if made.1.is_empty() || !made.0.is_same(kinds) {
            let documents = group_versions(kinds).into_iter().map(|(group, version)| {
                let key = (group.to_owned(), version.to_owned());
                let document = document(kinds, group, version, made.1.get(&key));
                (key, document)
            });
            let documents = Arc::new(documents.collect());
            *made = (kinds.clone(), documents);
        }
        Arc::clone(&made.1)
    }

    /// `/openapi/v3`, with the documents of aggregated servers.
    pub fn index(
        &self,
        kinds: &Kinds,
        others: &[Arc<Description>],
        headers: &HeaderMap,
    ) -> Result<Response, Status> {
        let mut paths = Map::new();
        for ((group, version), document) in &*self.documents(kinds) {
            let path = path_of(group, version);
            let url = format!("/openapi/v3/{path}?hash={}", document.hash);
            paths.insert(path, json!({"serverRelativeURL": url}));
        }
        for other in others {
            let path = path_of(&other.group, &other.version);
            let url = format!("/openapi/v3/{path}?hash={}", other.hash);
            paths.insert(path, json!({"serverRelativeURL": url}));
        }
        let style = Style::of(headers, accept::negotiate_plain(headers)?, None);
        Ok(respond::value(
            StatusCode::OK,
            &json!({"paths": Value::Object(paths)}),
            style,
        ))
    }

    /// `/openapi/v3/api/v1`, `/openapi/v3/apis/GROUP/VERSION`.
    pub fn document(
        &self,
        kinds: &Kinds,
        (group, version): (&str, &str),
        headers: &HeaderMap,
        query: &Query,
    ) -> Result<Response, Status> {
        let documents = self.documents(kinds);
        let Some(document) = documents.get(&(group.to_owned(), version.to_owned())) else {
            return Ok(respond::text(StatusCode::NOT_FOUND, "404 page not found\n"));
        };
        let path = path_of(group, version);
        Ok(sent(&document.bytes, &document.hash, &path, headers, query))
    }
}

/// The document of a version that an aggregated server serves.
pub fn of_other(other: &Description, headers: &HeaderMap, query: &Query) -> Response {
    let path = path_of(&other.group, &other.version);
    sent(&other.json, &other.hash, &path, headers, query)
}

/// A document, by its hash for ever.
fn sent(bytes: &Bytes, hash: &str, path: &str, headers: &HeaderMap, query: &Query) -> Response {
    let asked = query.get("hash");
    if asked.is_some_and(|asked| asked != hash) {
        let url = format!("/openapi/v3/{path}?hash={hash}");
        let mut response = respond::text(StatusCode::MOVED_PERMANENTLY, "");
        if let Ok(url) = HeaderValue::try_from(url) {
            response.headers_mut().insert(LOCATION, url);
        }
        return response;
    }
    let etag = format!("\"{hash}\"");
    let is_known = headers
        .get(IF_NONE_MATCH)
        .is_some_and(|tag| tag == etag.as_str());
    let gzip = Style::of(headers, Format::Json, None).gzip;
    let mut response = if is_known {
        respond::text(StatusCode::NOT_MODIFIED, "")
    } else {
        respond::whole(
            StatusCode::OK,
            Format::Json.content_type(),
            bytes.clone(),
            gzip,
        )
    };
    let headers = response.headers_mut();
    if let Ok(etag) = HeaderValue::try_from(etag) {
        headers.insert(ETAG, etag);
    }
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    if asked.is_some() {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
    }
    response
}

/// The document of a group version: the one before, where its kinds are the same.
fn document(
    kinds: &Kinds,
    group: &str,
    version: &str,
    before: Option<&Arc<Document>>,
) -> Arc<Document> {
    let of = || kinds_of(kinds, group, version);
    if let Some(before) = before
        && before.kinds.len() == of().count()
        && before.kinds.iter().zip(of()).all(|(a, b)| a.is_same(b))
    {
        return Arc::clone(before);
    }
    let bytes = kontiki_api::openapi::openapi_v3(kinds, group, version).to_string();
    let hash = hex(&Sha256::digest(&bytes)).to_uppercase();
    let kinds = of().cloned().collect();
    Arc::new(Document {
        bytes: bytes.into(),
        hash,
        kinds,
    })
}

fn path_of(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    }
}
