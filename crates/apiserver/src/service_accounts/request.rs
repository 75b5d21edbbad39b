//! TokenRequest: POST to `serviceaccounts/NAME/token` (upstream `pkg/registry/core/serviceaccount/storage/token.go`).

use kontiki_api::FieldError;
use kontiki_api::field_error::invalid_status;
use kontiki_api::time;
use kontiki_base::status::{Details, Reason, Status};
use kontiki_state::Object;
use serde_json::{Value, json};

use super::claims::{Bound, Claims, Reference};
use super::username;
use crate::admission::{Operation, admit};
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

/// What is asked for, defaults filled in.
struct Wanted {
    audiences: Vec<String>,
    expiration_s: i64,
    bound: Option<BoundTo>,
}

struct BoundTo {
    api_version: String,
    kind: String,
    name: String,
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
        let account = self
            .current(
                context,
                &Target {
                    subresource: None,
                    ..target.clone()
                },
            )
            .await?;
        check_name(target, &request)?;
        let wanted =
            Wanted::read(&request, self.options().issuer.audiences()).map_err(|errors| {
                invalid_status("authentication.k8s.io", "TokenRequest", "", &errors)
            })?;
        admit(self, context, target, Operation::Create(&request))?;
        let (claims, expiration_s) = self.claims(context, target, &account, &wanted).await?;
        if !options.dry_run {
            let signed = self.options().issuer.sign(&claims);
            let token = signed.map_err(|_| Status::internal("failed to create token"))?;
            request["status"] = json!({"token": token});
        }
        let end_ms = u64::try_from(expiration_s)
            .unwrap_or(0)
            .saturating_mul(1000);
        request["status"]["expirationTimestamp"] = time::rfc3339(end_ms).into();
        request["apiVersion"] = "authentication.k8s.io/v1".into();
        request["kind"] = "TokenRequest".into();
        request["metadata"] = json!({
            "name": target.name,
            "namespace": target.namespace,
            "creationTimestamp": self.now_text(),
        });
        request["spec"]["audiences"] = json!(wanted.audiences);
        request["spec"]["expirationSeconds"] = json!(wanted.expiration_s);
        if !request["spec"]["boundObjectRef"].is_object() {
            request["spec"]["boundObjectRef"] = Value::Null;
        }
        Ok(Written {
            object: Answer::Rendered(request),
            created: true,
            accepted: false,
            warnings: Vec::new(),
        })
    }

    async fn claims(
        &self,
        context: &Context,
        target: &Target,
        account: &Object,
        wanted: &Wanted,
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
        if let Some(reference) = &wanted.bound {
            self.bind_token(context, target, reference, &mut bound)
                .await?;
        }
        let expiration_s = now + wanted.expiration_s;
        let is_projected = wanted.expiration_s == EXTENDED_S
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

impl Wanted {
    fn read(request: &Value, audiences: &[String]) -> Result<Self, Vec<FieldError>> {
        let spec = &request["spec"];
        let expiration_s = spec["expirationSeconds"].as_i64().unwrap_or(DEFAULT_S);
        let mut errors = Vec::new();
        let mut invalid = |detail: &str| {
            let path = "spec.expirationSeconds";
            errors.push(FieldError::invalid(path, expiration_s, detail));
        };
        if expiration_s < MIN_S {
            invalid("may not specify a duration less than 10 minutes");
        }
        if expiration_s > MAX_S {
            invalid("may not specify a duration larger than 2^32 seconds");
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let asked = spec["audiences"].as_array().into_iter().flatten();
        let asked: Vec<String> = asked.filter_map(Value::as_str).map(str::to_owned).collect();
        let reference = spec.get("boundObjectRef").filter(|it| it.is_object());
        let text =
            |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
        Ok(Self {
            audiences: if asked.is_empty() {
                audiences.to_vec()
            } else {
                asked
            },
            expiration_s,
            bound: reference.map(|it| BoundTo {
                api_version: text(it, "apiVersion"),
                kind: text(it, "kind"),
                name: text(it, "name"),
                uid: text(it, "uid"),
            }),
        })
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
