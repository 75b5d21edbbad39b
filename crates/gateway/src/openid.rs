//! OpenID discovery: who issues ServiceAccounts' tokens, and the keys that verify them, for those who trust the cluster.

use axum::body::Body;
use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};
use kontiki_apiserver::ApiServer;

use crate::respond::{self, Response};

/// Both documents change with the key only (upstream's `max-age`).
const CACHE: HeaderValue = HeaderValue::from_static("public, max-age=3600");

/// `/openid/v1/jwks`.
pub fn jwks(api: &ApiServer) -> Response {
    document(
        "application/jwk-set+json",
        api.options().issuer.jwks().to_string(),
    )
}

/// `/.well-known/openid-configuration`; `server` is the API's `host:port`.
pub fn configuration(api: &ApiServer, server: &str) -> Response {
    let configuration = api.options().issuer.configuration(server);
    document("application/json", configuration.to_string())
}

fn document(content_type: &'static str, text: String) -> Response {
    let mut response = respond::plain(StatusCode::OK, content_type, Body::from(text));
    response.headers_mut().insert(CACHE_CONTROL, CACHE);
    response
}
