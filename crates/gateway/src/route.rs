//! A request line, read once: the route, the query, and whether it is one of the long ones.

use std::time::Duration;

use http::{Method, Uri};
use kontiki_api::{Kinds, Subresource};
use kontiki_apiserver::Target;
use kontiki_base::status::Status;

use crate::path::{self, Resource};
use crate::query::Query;

/// What a path leads to.
pub enum Route {
    /// `/livez`, `/readyz`, `/healthz`, and single checks below them.
    Health(String),
    /// `/version`.
    Version,
    /// `/metrics`.
    Metrics,
    /// `/api`: versions of the core group.
    CoreVersions,
    /// `/apis`: all other groups.
    Groups,
    /// `/apis/GROUP`.
    Group(String),
    /// `/api/v1` or `/apis/GROUP/VERSION`: its resources.
    Resources(String, String),
    /// `/openapi/v2`: one document of everything.
    OpenApiV2,
    /// `/openapi/v3`: the documents that there are.
    OpenApiIndex,
    /// `/openid/v1/jwks`: public keys of ServiceAccounts' tokens.
    Jwks,
    /// `/.well-known/openid-configuration`: who issues them.
    OpenIdConfiguration,
    /// `/openapi/v3/PATH`: one group-version.
    OpenApi(String, String),
    /// An object or a collection.
    Resource(Box<Resource>),
    /// Known prefix, unknown rest, as a `Status`.
    Refused(Status),
    /// Nothing of ours.
    Unknown,
}

/// A request line.
pub struct Parsed {
    /// Where it goes.
    pub route: Route,
    /// Its parameters.
    pub query: Query,
    /// A watch or a log: no deadline, no place among the requests in flight.
    pub is_long_running: bool,
    /// How long the client wants to wait at most.
    pub timeout: Option<Duration>,
}

impl Parsed {
    /// Reads a request line; what is wrong with it becomes a route that refuses, after authentication.
    pub fn of(kinds: &Kinds, method: &Method, uri: &Uri) -> Self {
        let read = Query::parse(uri.query()).and_then(|query| {
            let timeout = query.timeout()?;
            Ok((query, timeout))
        });
        let (query, timeout, route) = match read {
            Ok((query, timeout)) => (query, timeout, route(kinds, uri.path())),
            Err(status) => (Query::default(), None, Route::Refused(status)),
        };
        let is_long_running = match &route {
            Route::Resource(resource) if connects(resource) => true,
            Route::Resource(resource) => {
                *method == Method::GET && is_long_running(resource, &query)
            }
            // Another server's, perhaps.
            Route::Unknown => query.flag("watch"),
            _ => false,
        };
        Self {
            route,
            query,
            is_long_running,
            timeout,
        }
    }

    /// What the request is about, if that is a resource.
    pub fn target(&self) -> Option<&Target> {
        match &self.route {
            Route::Resource(resource) => Some(&resource.target),
            _ => None,
        }
    }

    /// The verb of the request, as policies name it.
    pub fn verb(&self, method: &Method) -> &'static str {
        let Route::Resource(resource) = &self.route else {
            return path_verb(method);
        };
        match *method {
            Method::GET | Method::HEAD if is_watch(resource, &self.query) => "watch",
            Method::GET | Method::HEAD if resource.is_collection() => "list",
            Method::GET | Method::HEAD => "get",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if resource.is_collection() => "deletecollection",
            Method::DELETE => "delete",
            Method::POST => "create",
            _ => "",
        }
    }

    /// Whether flow control has a say: over a watch until it has begun, and not over other long requests.
    pub fn needs_seat(&self) -> bool {
        let is_watch = match &self.route {
            Route::Resource(resource) => is_watch(resource, &self.query),
            _ => false,
        };
        !self.is_health() && (is_watch || !self.is_long_running)
    }

    /// A health check.
    pub fn is_health(&self) -> bool {
        matches!(self.route, Route::Health(_))
    }
}

/// The verb of a request for a path that is no resource's.
fn path_verb(method: &Method) -> &'static str {
    match *method {
        Method::GET => "get",
        Method::HEAD => "head",
        Method::POST => "post",
        Method::PUT => "put",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        Method::OPTIONS => "options",
        _ => "",
    }
}

/// Whether a GET is a watch.
pub fn is_watch(resource: &Resource, query: &Query) -> bool {
    resource.watch || (resource.is_collection() && query.flag("watch"))
}

/// Whether it is passed on to a node or a pod, for as long as that takes.
fn connects(resource: &Resource) -> bool {
    let subresource = resource.target.subresource;
    subresource.is_some_and(Subresource::connects)
}

fn is_long_running(resource: &Resource, query: &Query) -> bool {
    is_watch(resource, query) || resource.target.subresource == Some(Subresource::Log)
}

fn route(kinds: &Kinds, path: &str) -> Route {
    let trimmed = path.trim_end_matches('/');
    match trimmed {
        "/version" => return Route::Version,
        "/metrics" => return Route::Metrics,
        "/api" => return Route::CoreVersions,
        "/apis" => return Route::Groups,
        "/openapi/v2" => return Route::OpenApiV2,
        "/openapi/v3" => return Route::OpenApiIndex,
        "/openid/v1/jwks" => return Route::Jwks,
        "/.well-known/openid-configuration" => return Route::OpenIdConfiguration,
        _ => {}
    }
    let segments: Vec<&str> = trimmed.split('/').skip(1).collect();
    match segments.as_slice() {
        ["livez" | "readyz" | "healthz"] | ["livez" | "readyz" | "healthz", _] => {
            Route::Health(trimmed[1..].to_owned())
        }
        ["openapi", "v3", "api", version] => openapi(kinds, "", version),
        ["openapi", "v3", "apis", group, version] => openapi(kinds, group, version),
        ["api", version] => resources(kinds, "", version),
        ["apis", group] if kinds.has_group(group) => Route::Group((*group).to_owned()),
        ["apis", group, version] => resources(kinds, group, version),
        ["api", version, rest @ ..] => resource(kinds, "", version, &rest.join("/")),
        ["apis", group, version, rest @ ..] => resource(kinds, group, version, &rest.join("/")),
        _ => Route::Unknown,
    }
}

fn resources(kinds: &Kinds, group: &str, version: &str) -> Route {
    if kinds.has_version(group, version) {
        return Route::Resources(group.to_owned(), version.to_owned());
    }
    Route::Unknown
}

fn openapi(kinds: &Kinds, group: &str, version: &str) -> Route {
    if kinds.has_version(group, version) {
        return Route::OpenApi(group.to_owned(), version.to_owned());
    }
    Route::Unknown
}

fn resource(kinds: &Kinds, group: &str, version: &str, rest: &str) -> Route {
    if !kinds.has_version(group, version) {
        return Route::Unknown;
    }
    match path::resolve(kinds, group, version, rest) {
        Ok(resource) => Route::Resource(Box::new(resource)),
        Err(status) => Route::Refused(status),
    }
}
