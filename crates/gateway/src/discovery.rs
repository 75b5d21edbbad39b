//! Discovery over HTTP: which form the client wants, entity tags, 304. The documents are `kontiki_api::discovery`'s.

use std::sync::{Arc, PoisonError, RwLock};

use http::header::{CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, VARY};
use http::{HeaderMap, StatusCode};
use kontiki_api::{Kinds, discovery};
use kontiki_apiserver::ApiServer;
use kontiki_base::status::Status;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::accept::{self, Format};
use crate::respond::{self, Response, Style};
use crate::{aggregate, path};

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
        Self {
            bytes: bytes.into(),
            etag,
        }
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The aggregated documents, which clients ask for first and keep by their tag.
pub struct Discovery {
    advertise: String,
    core: Tagged,
    /// Of the kinds that were served when it was last asked for.
    groups: RwLock<Option<(Kinds, Arc<Tagged>)>>,
}

impl Discovery {
    /// Made once, at the start.
    pub fn new(advertise: &str) -> Self {
        Self {
            advertise: advertise.to_owned(),
            core: Tagged::new(&discovery::aggregated(&Kinds::built_in(), true)),
            groups: RwLock::default(),
        }
    }

    /// `host:port` of the server.
    pub fn advertise(&self) -> &str {
        &self.advertise
    }

    /// `/api`.
    pub fn core_versions(&self, headers: &HeaderMap) -> Result<Response, Status> {
        if wants_aggregated(headers) {
            return Ok(tagged(&self.core, headers));
        }
        answer(&discovery::api_versions(&self.advertise), headers)
    }

    /// `/apis`.
    pub fn groups(
        &self,
        api: &ApiServer,
        kinds: &Kinds,
        headers: &HeaderMap,
    ) -> Result<Response, Status> {
        if wants_aggregated(headers) {
            let own = || discovery::aggregated(kinds, false);
            return Ok(match aggregate::with_groups(api, own) {
                Some(document) => tagged(&Tagged::new(&document), headers),
                None => tagged(&self.aggregated(kinds), headers),
            });
        }
        let groups = aggregate::group_list(api, discovery::api_group_list(kinds));
        answer(&groups, headers)
    }

    fn aggregated(&self, kinds: &Kinds) -> Arc<Tagged> {
        let made = self.groups.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, document)) = &*made
            && of.is_same(kinds)
        {
            return Arc::clone(document);
        }
        drop(made);
        let document = Arc::new(Tagged::new(&discovery::aggregated(kinds, false)));
        let mut made = self.groups.write().unwrap_or_else(PoisonError::into_inner);
        *made = Some((kinds.clone(), Arc::clone(&document)));
        document
    }
}

/// `/apis/GROUP`.
pub fn group(kinds: &Kinds, group: &str, headers: &HeaderMap) -> Result<Response, Status> {
    answer(
        &discovery::group(kinds, group).ok_or_else(path::no_such_resource)?,
        headers,
    )
}

/// `/api/v1`, `/apis/GROUP/VERSION`.
pub fn resources(
    kinds: &Kinds,
    group: &str,
    version: &str,
    headers: &HeaderMap,
) -> Result<Response, Status> {
    let list =
        discovery::resource_list(kinds, group, version).ok_or_else(path::no_such_resource)?;
    answer(&list, headers)
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
    let known = headers
        .get(IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
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
    response
        .headers_mut()
        .insert(VARY, HeaderValue::from_static("Accept"));
    response
}

/// A document that is made for each request.
pub fn answer(document: &Value, headers: &HeaderMap) -> Result<Response, Status> {
    let style = Style::of(headers, accept::negotiate_plain(headers)?, None);
    let mut response = respond::value(StatusCode::OK, document, style);
    response
        .headers_mut()
        .insert(VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}
