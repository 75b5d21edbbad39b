//! Passing a request on to the server that an APIService names, in the user's name: streams in both directions, headers of
//! the connection and credentials left behind.
//!
//! Not here: who that server is and how it is reached (`kontiki-apiserver`'s `aggregation` and `outbound`).

use axum::extract::Request;
use http::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION};
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use kontiki_apiserver::aggregation::{Delegation, RequestInfo};
use kontiki_apiserver::outbound::Body;
use kontiki_apiserver::{Context, User};
use kontiki_base::status::Status;

use crate::query::Query;
use crate::respond::{self, Response};
use crate::route::Parsed;
use crate::router::Gateway;
use crate::watch::GOES_ON;
use crate::{upgrade, urlencoded};

mod discovery;
#[cfg(test)]
mod tests;

pub use discovery::{description, group, group_list, with_groups};

/// Answers a request for a group version that another server serves; none if none does.
pub async fn serve(
    gateway: &Gateway,
    context: &Context,
    parsed: &Parsed,
    request: &mut Request,
) -> Option<Result<Response, Status>> {
    let path = request.uri().path().to_owned();
    let delegation = delegation(gateway, &path)?;
    let request = std::mem::take(request);
    Some(pass_on(gateway, &delegation, context, &parsed.query, request).await)
}

/// Who serves a path below `/apis/GROUP/VERSION`, if it is another server.
fn delegation(gateway: &Gateway, path: &str) -> Option<Delegation> {
    let mut segments = path.strip_prefix("/apis/")?.split('/');
    let (group, version) = (segments.next()?, segments.next()?);
    // What is served here is not another's.
    if gateway.api.kinds().has_version(group, version) {
        return None;
    }
    gateway.api.delegation(group, version)
}

async fn pass_on(
    gateway: &Gateway,
    delegation: &Delegation,
    context: &Context,
    query: &Query,
    mut request: Request,
) -> Result<Response, Status> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    authorize(gateway, context, query, &method, &path).await?;
    if !delegation.is_available {
        return Ok(unavailable());
    }
    let client = request
        .extensions_mut()
        .remove::<hyper::upgrade::OnUpgrade>();
    let outgoing = outgoing(request, &context.user);
    let peer = gateway.api.peer_of(delegation);
    let mut answer = match gateway.api.exchange(&peer, outgoing).await {
        Ok(answer) => answer,
        Err(why) => {
            tracing::warn!(apiservice = delegation.name, %why, "no answer");
            return Ok(unavailable());
        }
    };
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        upgrade::join(client, hyper::upgrade::on(&mut answer));
        return Ok(answer.map(axum::body::Body::new));
    }
    if answer.status().is_redirection() && answer.headers().contains_key(LOCATION) {
        return Ok(redirects());
    }
    upgrade::strip(answer.headers_mut());
    // What only this server may tell a gateway.
    answer.headers_mut().remove(GOES_ON);
    Ok(answer.map(axum::body::Body::new))
}

/// As upstream's proxy says it, whatever the reason.
fn unavailable() -> Response {
    respond::text(StatusCode::SERVICE_UNAVAILABLE, "service unavailable\n")
}

/// Whoever may register a server must not thereby send users, and what they carry, to another.
fn redirects() -> Response {
    let why = "the backend attempted to redirect this request, which is not permitted";
    respond::text(StatusCode::BAD_GATEWAY, why)
}

async fn authorize(
    gateway: &Gateway,
    context: &Context,
    query: &Query,
    method: &Method,
    path: &str,
) -> Result<(), Status> {
    let info = request_info(method, path, query.flag("watch"))?;
    if info.resource.is_empty() {
        let verb = method.as_str().to_ascii_lowercase();
        return gateway.api.authorize_path(context, &verb, path).await;
    }
    gateway.api.authorize_request(context, &info).await
}

/// What a URL below `/apis/GROUP/VERSION` asks for.
fn request_info(method: &Method, path: &str, is_watch: bool) -> Result<RequestInfo, Status> {
    let segments: Vec<String> = path
        .trim_matches('/')
        .split('/')
        .map(urlencoded::decode)
        .collect::<Result<_, _>>()?;
    let mut rest = segments.iter().skip(3).cloned().peekable();
    let mut info = RequestInfo {
        group: segments.get(1).cloned().unwrap_or_default(),
        ..RequestInfo::default()
    };
    let is_old_watch = rest.next_if(|segment| segment == "watch").is_some();
    if rest.next_if(|segment| segment == "namespaces").is_some() {
        info.namespace = rest.next().unwrap_or_default();
        if rest.peek().is_none() {
            info.resource = "namespaces".to_owned();
            info.name = info.namespace.clone();
        }
    }
    if info.resource.is_empty() {
        info.resource = rest.next().unwrap_or_default();
        info.name = rest.next().unwrap_or_default();
        info.subresource = rest.next().unwrap_or_default();
    }
    info.verb = match (method.as_str(), info.name.is_empty()) {
        _ if is_watch || is_old_watch => "watch",
        ("GET" | "HEAD", true) => "list",
        ("GET" | "HEAD", false) => "get",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "deletecollection",
        ("DELETE", false) => "delete",
        _ => "",
    };
    Ok(info)
}

/// The request as the other server gets it.
fn outgoing(request: Request, user: &User) -> http::Request<Body> {
    let (mut parts, body) = request.into_parts();
    upgrade::strip_but_upgrade(&mut parts.headers);
    let stripped = parts
        .headers
        .keys()
        .filter(|name| is_left_behind(name))
        .cloned();
    for name in stripped.collect::<Vec<_>>() {
        parts.headers.remove(name);
    }
    name_user(&mut parts.headers, user);
    let path = parts.uri.path_and_query().cloned();
    let mut outgoing = http::Request::new(body.map_err(Into::into).boxed_unsync());
    *outgoing.method_mut() = parts.method;
    *outgoing.headers_mut() = parts.headers;
    if let Some(path) = path {
        *outgoing.uri_mut() = path.into();
    }
    outgoing
}

fn is_left_behind(name: &HeaderName) -> bool {
    let text = name.as_str();
    [AUTHORIZATION, HOST].contains(name)
        || ["x-remote-", "impersonate-"]
            .iter()
            .any(|prefix| text.starts_with(prefix))
}

/// The headers by which the other server knows the user, and believes it from us.
fn name_user(headers: &mut HeaderMap, user: &User) {
    let mut add = |name: &str, value: &str| {
        let name = HeaderName::try_from(name);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
            headers.append(name, value);
        }
    };
    add("x-remote-user", &user.name);
    if !user.uid.is_empty() {
        add("x-remote-uid", &user.uid);
    }
    for group in &user.groups {
        add("x-remote-group", group);
    }
    for (key, values) in &user.extra {
        let name = format!("x-remote-extra-{}", header_key(&key.to_lowercase()));
        for value in values {
            add(&name, value);
        }
    }
}

/// A key as a part of a header's name: what may not stand there is escaped, as upstream does.
fn header_key(key: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&byte);
    let mut escaped = String::with_capacity(key.len());
    for byte in key.bytes() {
        if is_plain(byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02x}"));
        }
    }
    escaped
}
