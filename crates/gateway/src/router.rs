//! The REST face as an axum router: from a parsed request line to the module that answers it.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use http::{Method, StatusCode, Uri};
use kontiki_apiserver::{ApiServer, Context};
use kontiki_base::metrics::METRICS;
use kontiki_base::status::{Reason, Status};

use crate::discovery::Discovery;
use crate::health::{self, Check};
use crate::openapi::OpenApi;
use crate::openapi_v2::OpenApiV2;
use crate::respond::{self, Response};
use crate::route::{Parsed, Route};
use crate::version::Build;
use crate::watch::Encoded;
use crate::{aggregate, discovery, layers, openid, path, rest, version};

/// What the gateway is made with.
#[derive(Default)]
pub struct GatewayOptions {
    /// `host:port` that discovery names as the server's address.
    pub advertise: String,
    /// What `/version` tells of this binary.
    pub build: Build,
    /// Checks behind `/livez` and `/readyz`, besides `ping`.
    pub checks: Vec<Check>,
}

/// What every request shares.
pub(crate) struct Gateway {
    pub(crate) api: ApiServer,
    pub(crate) build: Build,
    pub(crate) checks: Vec<Check>,
    pub(crate) discovery: Discovery,
    pub(crate) openapi: OpenApi,
    pub(crate) openapi_v2: OpenApiV2,
    pub(crate) encoded: Arc<Encoded>,
}

impl Gateway {
    /// A random UUID.
    pub(crate) fn new_id(&self) -> String {
        let random = &self.api.options().random;
        let bits = (u128::from(random.bits()) << 64) | u128::from(random.bits());
        uuid::Builder::from_random_bytes(bits.to_be_bytes())
            .into_uuid()
            .to_string()
    }

    pub(crate) fn now_unix_ms(&self) -> u64 {
        self.api.options().clock.unix_ms()
    }
}

/// The REST face.
pub fn router(api: ApiServer, options: GatewayOptions) -> Router {
    let gateway = Arc::new(Gateway {
        api,
        build: options.build,
        checks: options.checks,
        discovery: Discovery::new(&options.advertise),
        openapi: OpenApi::default(),
        openapi_v2: OpenApiV2::default(),
        encoded: Arc::default(),
    });
    layers::around(
        Router::new().fallback(answer).with_state(gateway.clone()),
        &gateway,
    )
}

/// REST and gRPC behind one port: gRPC says so in its content type, whatever the path.
pub fn with_grpc(rest: Router, grpc: Router) -> Router {
    Router::new().fallback(move |request: Request| {
        let content_type = request.headers().get(http::header::CONTENT_TYPE);
        let is_grpc = content_type.is_some_and(|t| t.as_bytes().starts_with(b"application/grpc"));
        let chosen = if is_grpc { grpc.clone() } else { rest.clone() };
        async move {
            use tower::ServiceExt as _;
            match chosen.oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        }
    })
}

async fn answer(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let parsed = layers::parsed(&request).cloned();
    let context = request.extensions().get::<Context>().cloned();
    let (Some(parsed), Some(context)) = (parsed, context) else {
        return respond::status(&Status::internal("a request without its layers"));
    };
    let line = (request.method().clone(), request.uri().clone());
    let parsed = match known_elsewhere(&gateway, &parsed, &context, line).await {
        Ok(Some(known)) => Arc::new(known),
        Ok(None) => parsed,
        Err(status) => return respond::status(&status),
    };
    let answered = dispatch(&gateway, &parsed, context, request).await;
    answered.unwrap_or_else(|status| respond::status(&status))
}

/// A path that leads nowhere may lead somewhere on a replica that is ahead: a kind may just have been defined.
async fn known_elsewhere(
    gateway: &Gateway,
    parsed: &Parsed,
    context: &Context,
    (method, uri): (Method, Uri),
) -> Result<Option<Parsed>, Status> {
    let is_custom = uri.path().starts_with("/apis/");
    let leads_nowhere = match &parsed.route {
        Route::Unknown => true,
        Route::Refused(status) => status.reason == Reason::NotFound,
        _ => false,
    };
    if !is_custom || !leads_nowhere {
        return Ok(None);
    }
    let before = gateway.api.kinds();
    let kinds = gateway.api.kinds_of_leader(context).await?;
    let again = || Parsed::of(&kinds, &method, &uri);
    Ok((!kinds.is_same(&before)).then(again))
}

async fn dispatch(
    gateway: &Arc<Gateway>,
    parsed: &Parsed,
    context: Context,
    mut request: Request,
) -> Result<Response, Status> {
    if matches!(parsed.route, Route::Unknown)
        && let Some(answer) = aggregate::serve(gateway, &context, parsed, &mut request).await
    {
        return answer;
    }
    if let Route::Resource(resource) = &parsed.route {
        return rest::serve(gateway, resource, parsed, context, request).await;
    }
    if let Route::Refused(status) = &parsed.route {
        return Err(status.clone());
    }
    if !parsed.is_health() {
        let verb = request.method().as_str().to_ascii_lowercase();
        let path = request.uri().path().to_owned();
        gateway.api.authorize_path(&context, &verb, &path).await?;
    }
    let not_found = || Ok(respond::text(StatusCode::NOT_FOUND, "404 page not found\n"));
    if matches!(parsed.route, Route::Unknown) {
        let path = request.uri().path();
        if let Some(document) = aggregate::description(&gateway.api, path) {
            return Ok(crate::openapi::of_other(
                &document,
                request.headers(),
                &parsed.query,
            ));
        }
        return match aggregate::group(&gateway.api, path) {
            Some(group) => discovery::answer(&group, request.headers()),
            None => not_found(),
        };
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(path::no_such_method());
    }
    let headers = request.headers();
    let kinds = gateway.api.kinds();
    match &parsed.route {
        Route::Health(path) => Ok(health::answer(&gateway.checks, path, &parsed.query)),
        Route::Version => version::answer(gateway.build, headers, &parsed.query),
        Route::Metrics => Ok(respond::plain(
            StatusCode::OK,
            "text/plain; version=0.0.4; charset=utf-8",
            METRICS.render().into(),
        )),
        Route::CoreVersions => gateway.discovery.core_versions(headers),
        Route::Groups => gateway.discovery.groups(&gateway.api, &kinds, headers),
        Route::Group(group) => discovery::group(&kinds, group, headers),
        Route::Resources(group, version) => discovery::resources(&kinds, group, version, headers),
        Route::Jwks => Ok(openid::jwks(&gateway.api)),
        Route::OpenIdConfiguration => Ok(openid::configuration(
            &gateway.api,
            gateway.discovery.advertise(),
        )),
        Route::OpenApiV2 => {
            let others = gateway.api.descriptions();
            Ok(gateway.openapi_v2.answer(&kinds, &others, headers))
        }
        Route::OpenApiIndex => gateway
            .openapi
            .index(&kinds, &gateway.api.descriptions(), headers),
        Route::OpenApi(group, version) => {
            gateway
                .openapi
                .document(&kinds, (group, version), headers, &parsed.query)
        }
        Route::Resource(_) | Route::Refused(_) | Route::Unknown => not_found(),
    }
}
