//! TokenRequest: POST to `serviceaccounts/NAME/token` (upstream `pkg/registry/core/serviceaccount/storage/token.go`).

use kontiki_api::FieldError;
use kontiki_api::field_error::invalid_status;
use kontiki_api::time;
use kontiki_base::status::{Details, Reason, Status};
use kontiki_state::Object;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::claims::{Bound, Claims, Reference};
use super::username;
use crate::authz::content::Operation;
use crate::body::Body;
use crate::errors::conflict;
use crate::options::{Answer, Context, Target, WriteOptions, Written};
use crate::server::ApiServer;
use crate::write::new_uid;

/// Life of a token that names none.
const DEFAULT_S: i64 = 3600;
/// Shortest life.
const MIN_S: i64 = 600;
/// Longest life.
const MAX_S: i64 = 1 << 32;
/// Pods' clients of old never come for a new token: theirs lives on for a year, with a mark when it should not be used
/// any more. A request for exactly this life is a pod's projected token.
const EXTENDED_S: i64 = 3607;
const YEAR_S: i64 = 365 * 24 * 3600;

/// What is asked for: `spec` of the request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    audiences: Vec<String>,
    expiration_seconds: Option<i64>,
    bound_object_ref: Option<BoundTo>,
}

/// The object that the token shall end with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct BoundTo {
    #[serde(skip_serializing_if = "String::is_empty")]
    api_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    uid: String,
}

impl ApiServer {
    /// Issues a token for a ServiceAccount.
    pub(crate) async fn request_token(
        &self,
        context: &Context,
        target: &Target,
        body: Body,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        let mut request = body.value;
        check_type(&request)?;
        let plain = Target {
            subresource: None,
            ..target.clone()
        };
        let account = self.current(context, &plain).await?;
        check_name(target, &request)?;
        let warnings = self
            .admit_action(context, target, &mut request, options)
            .await?;
        let spec = read(&request)?.completed(self.options().issuer.audiences())?;
        self.authorize_content(context, target, Operation::Create(&request))?;
        let (claims, expiration_s) = self.claims(context, target, &account, &spec).await?;
        let end_ms = u64::try_from(expiration_s)
            .unwrap_or(0)
            .saturating_mul(1000);
        let mut status = json!({"expirationTimestamp": time::rfc3339(end_ms)});
        if !options.dry_run {
            let token = self.options().issuer.sign(&claims);
            let token = token.map_err(|_| Status::internal("failed to create token"))?;
            status["token"] = token.into();
        }
        let metadata = json!({
            "name": target.name,
            "namespace": target.namespace,
            "creationTimestamp": self.now_text(),
        });
        Ok(Written {
            object: Answer::Rendered(json!({
                "kind": "TokenRequest",
                "apiVersion": "authentication.k8s.io/v1",
                "metadata": metadata,
                "spec": spec,
                "status": status,
            })),
            created: true,
            accepted: false,
            warnings,
        })
    }

    async fn claims(
        &self,
        context: &Context,
        target: &Target,
        account: &Object,
        wanted: &Spec,
    ) -> Result<(Claims, i64), Status> {
        let now = i64::try_from(self.now_unix_ms() / 1000).unwrap_or(i64::MAX / 2);
        let mut bound = Bound {
            namespace: target.namespace.clone(),
            serviceaccount: Reference {
                name: target.name.clone(),
                uid: account.header.uid.to_string(),
            },
            ..Bound::default()
        };
        if let Some(reference) = &wanted.bound_object_ref {
            self.bind_token(context, target, reference, &mut bound)
                .await?;
        }
        let expiration_s = now + wanted.expiration_s();
        let is_projected = wanted.expiration_s() == EXTENDED_S
            && bound.pod.is_some()
            && wanted.audiences == self.options().issuer.audiences();
        let exp = if is_projected {
            bound.warnafter = Some(expiration_s);
            now + YEAR_S
        } else {
            expiration_s
        };
        let claims = Claims {
            aud: wanted.audiences.clone(),
            exp,
            iat: now,
            iss: self.options().issuer.name().to_owned(),
            jti: new_uid(&*self.options().random),
            bound,
            nbf: now,
            sub: username(&target.namespace, &target.name),
        };
        Ok((claims, expiration_s))
    }

    /// Binds a token to the object that the request names.
    async fn bind_token(
        &self,
        context: &Context,
        target: &Target,
        wanted: &BoundTo,
        bound: &mut Bound,
    ) -> Result<(), Status> {
        let (resource, namespace) = match (wanted.api_version.as_str(), wanted.kind.as_str()) {
            ("v1", "Pod") => ("pods", target.namespace.as_str()),
            ("v1", "Secret") => ("secrets", target.namespace.as_str()),
            ("v1", "Node") => ("nodes", ""),
            (version, kind) => {
                let message = format!(
                    "cannot bind token for serviceaccount to object of type {version}, Kind={kind}"
                );
                return Err(Status::bad_request(message));
            }
        };
        let kind = kontiki_api::by_resource(resource)
            .ok_or_else(|| Status::internal("a kind is missing"))?;
        let object = self
            .current(
                context,
                &Target::object(kind, namespace, wanted.name.as_str()),
            )
            .await?;
        if !wanted.uid.is_empty() && *object.header.uid != *wanted.uid {
            let why = format!(
                "the UID in the bound object reference ({}) does not match the UID in record. The object might have \
                 been deleted and then recreated",
                wanted.uid
            );
            return Err(conflict(kind, &wanted.name, &why));
        }
        let reference = Reference {
            name: wanted.name.clone(),
            uid: object.header.uid.to_string(),
        };
        match resource {
            "pods" => {
                let pod = object.value();
                let account = pod["spec"]["serviceAccountName"]
                    .as_str()
                    .unwrap_or("default");
                if account != target.name {
                    let message = format!(
                        "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                        target.name
                    );
                    return Err(Status::bad_request(message));
                }
                bound.node = self.node_of_pod(&pod);
                bound.pod = Some(reference);
            }
            "secrets" => bound.secret = Some(reference),
            _ => bound.node = Some(reference),
        }
        Ok(())
    }

    fn node_of_pod(&self, pod: &Value) -> Option<Reference> {
        let name = pod["spec"]["nodeName"]
            .as_str()
            .filter(|name| !name.is_empty())?;
        let node = self.store().snapshot().find("nodes", "", name);
        let uid = node.map_or_else(String::new, |node| node.header.uid.to_string());
        let name = name.to_owned();
        Some(Reference { name, uid })
    }
}

fn read(request: &Value) -> Result<Spec, Status> {
    let spec = request.get("spec").filter(|spec| !spec.is_null());
    let spec = spec.cloned().map(|mut spec| {
        // Go's clients write a slice that they did not set as null.
        if let Some(fields) = spec.as_object_mut() {
            fields.retain(|_, value| !value.is_null());
        }
        spec
    });
    let spec = spec.map_or(Ok(Spec::default()), Spec::deserialize);
    spec.map_err(|error| {
        Status::bad_request(format!(
            "TokenRequest in version \"v1\" cannot be handled as a TokenRequest: spec: {error}"
        ))
    })
}

impl Spec {
    fn expiration_s(&self) -> i64 {
        self.expiration_seconds.unwrap_or(DEFAULT_S)
    }

    /// With defaults filled in, if it is within bounds.
    fn completed(mut self, audiences: &[String]) -> Result<Self, Status> {
        let expiration_s = self.expiration_s();
        let detail = if expiration_s < MIN_S {
            "may not specify a duration less than 10 minutes"
        } else if expiration_s > MAX_S {
            "may not specify a duration larger than 2^32 seconds"
        } else {
            self.expiration_seconds = Some(expiration_s);
            if self.audiences.is_empty() {
                self.audiences = audiences.to_vec();
            }
            return Ok(self);
        };
        let error = FieldError::invalid("spec.expirationSeconds", expiration_s, detail);
        let group = "authentication.k8s.io";
        Err(invalid_status(group, "TokenRequest", "", &[error]))
    }
}

fn check_type(request: &Value) -> Result<(), Status> {
    let text = |field: &str, otherwise: &'static str| {
        request[field]
            .as_str()
            .filter(|it| !it.is_empty())
            .unwrap_or(otherwise)
            .to_owned()
    };
    let version = text("apiVersion", "authentication.k8s.io/v1");
    let kind = text("kind", "TokenRequest");
    if request.is_object() && version == "authentication.k8s.io/v1" && kind == "TokenRequest" {
        return Ok(());
    }
    let message = format!(
        "the object provided is unrecognized (must be of type TokenRequest): got {version}, Kind={kind}"
    );
    Err(Status::bad_request(message))
}

fn check_name(target: &Target, request: &Value) -> Result<(), Status> {
    let text = |field: &str| request["metadata"][field].as_str().unwrap_or_default();
    let (name, namespace) = (text("name"), text("namespace"));
    let refuse = |what: &str, sent: &str, wanted: &str| {
        let message = format!(
            "{what} in the request body ({sent:?}) does not match the one of the service account in the URL ({wanted:?})"
        );
        Err(Status::new(Reason::BadRequest, message).with_details(Details::default()))
    };
    if !name.is_empty() && name != target.name {
        return refuse("name", name, &target.name);
    }
    if !namespace.is_empty() && namespace != target.namespace {
        return refuse("namespace", namespace, &target.namespace);
    }
    Ok(())
}
