//! OpenAPI v3: an index of the group-versions with a hash for each, and their documents, made at first use.
//!
//! Clients keep a document for as long as its hash in the index stands.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, ETAG, HeaderValue, IF_NONE_MATCH, LOCATION, VARY};
use http::{HeaderMap, StatusCode};
use kontiki_api::discovery::group_versions;
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
}

/// All documents.
#[derive(Default)]
pub struct OpenApi(OnceLock<HashMap<(String, String), Arc<Document>>>);

impl OpenApi {
    fn documents(&self) -> &HashMap<(String, String), Arc<Document>> {
        self.0.get_or_init(|| {
            let document = |group: &str, version: &str| {
                let bytes = kontiki_api::openapi::openapi_v3(group, version).to_string();
                let hash = hex(&Sha256::digest(&bytes)).to_uppercase();
                Arc::new(Document {
                    bytes: bytes.into(),
                    hash,
                })
            };
            group_versions()
                .into_iter()
                .map(|(group, version)| ((group.into(), version.into()), document(group, version)))
                .collect()
        })
    }

    /// `/openapi/v3`.
    pub fn index(&self, headers: &HeaderMap) -> Result<Response, Status> {
        let mut paths = Map::new();
        for ((group, version), document) in self.documents() {
            let path = path_of(group, version);
            let url = format!("/openapi/v3/{path}?hash={}", document.hash);
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
        group: &str,
        version: &str,
        headers: &HeaderMap,
        query: &Query,
    ) -> Result<Response, Status> {
        let Some(document) = self
            .documents()
            .get(&(group.to_owned(), version.to_owned()))
        else {
            return Ok(respond::text(StatusCode::NOT_FOUND, "404 page not found\n"));
        };
        let asked = query.get("hash");
        if asked.is_some_and(|hash| hash != document.hash) {
            let url = format!(
                "/openapi/v3/{}?hash={}",
                path_of(group, version),
                document.hash
            );
            let mut response = respond::text(StatusCode::MOVED_PERMANENTLY, "");
            if let Ok(url) = HeaderValue::try_from(url) {
                response.headers_mut().insert(LOCATION, url);
            }
            return Ok(response);
        }
        let etag = format!("\"{}\"", document.hash);
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
                document.bytes.clone(),
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
        Ok(response)
    }
}

fn path_of(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    }
}
