//! What every call passes through: who asks, how many at once, how long.

use std::time::Duration;

use kontiki_api::Kinds;
use kontiki_apiserver::audit::Trail;
use kontiki_apiserver::authn::{Credentials, PeerCert};
use kontiki_apiserver::{ApiServer, Context, Impersonation, Seat, Target, User};
use kontiki_base::metrics::METRICS;
use kontiki_base::status::{Reason, Status};
use kontiki_proto::api as proto;
use kontiki_proto::api::ObjectRef;
use tonic::metadata::{KeyAndValueRef, MetadataMap};
use tonic::{Request, Response};

use crate::audit;
use crate::convert;
use crate::convert::target;
use crate::error::to_tonic;

/// Longest that a unary call may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What a call is about, as far as flow control asks.
pub struct Asked {
    verb: &'static str,
    method: &'static str,
    target: Option<Target>,
    page_size: Option<u64>,
}

impl Asked {
    /// A verb on what a reference names; a wrong reference is the call's own failure.
    pub fn of(
        kinds: &Kinds,
        method: &'static str,
        verb: &'static str,
        reference: Option<&proto::ObjectRef>,
    ) -> Self {
        Self {
            target: target(kinds, reference.cloned()).ok(),
            ..Self::path(method, verb)
        }
    }

    /// A call that is about no resource, or about several.
    pub fn call(method: &'static str) -> Self {
        Self::path(method, "post")
    }

    const fn path(method: &'static str, verb: &'static str) -> Self {
        Self {
            verb,
            method,
            target: None,
            page_size: None,
        }
    }

    /// With the page size of a list.
    pub fn page_size(self, page_size: i32) -> Self {
        Self {
            page_size: u64::try_from(page_size).ok(),
            ..self
        }
    }
}

/// The API server behind a service.
#[derive(Clone)]
pub struct Face {
    /// The verbs.
    pub api: ApiServer,
}

impl Face {
    /// A face.
    pub const fn new(api: ApiServer) -> Self {
        Self { api }
    }

    /// Who calls a method, and until when; counts the call and begins its record.
    pub fn context<T>(&self, method: &str, request: &Request<T>) -> Result<Context, tonic::Status> {
        METRICS.api_requests_total.inc();
        let cert = request.extensions().get::<PeerCert>();
        let text = |name| {
            request
                .metadata()
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        let bearer = text("authorization").and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        let credentials = Credentials {
            cert_der: cert.map(|cert| cert.0.as_ref()),
            bearer,
        };
        let auditor = self.api.options().auditor.as_ref();
        let user = match self.api.authenticate(credentials) {
            Ok(user) => user,
            Err(status) => {
                if let Some(auditor) = auditor {
                    audit::refused(auditor, method, request, &status);
                }
                return Err(to_tonic(&status));
            }
        };
        let audit = auditor.map_or_else(Trail::default, |auditor| {
            auditor.begin_unknown(audit::received(method, request, Some(user.clone())))
        });
        let user = self.acting(user, request.metadata(), &audit);
        let user = user.map_err(|status| {
            audit.complete_with(Err(&status));
            to_tonic(&status)
        })?;
        let user_agent = text("user-agent").unwrap_or("").to_owned();
        Ok(Context {
            user,
            timeout: timeout(request.metadata()),
            user_agent,
            audit,
        })
    }

    /// The user that the call acts as, by the metadata that REST has as headers.
    fn acting(&self, user: User, metadata: &MetadataMap, audit: &Trail) -> Result<User, Status> {
        let fields = metadata.iter().filter_map(|entry| match entry {
            KeyAndValueRef::Ascii(key, value) => Some((key.as_str(), value.as_bytes())),
            KeyAndValueRef::Binary(..) => None,
        });
        match Impersonation::read(fields)? {
            None => Ok(user),
            Some(wanted) => {
                let acting = self.api.impersonate(&user, wanted)?;
                audit.impersonates(&acting);
                Ok(acting)
            }
        }
    }

    /// A seat for a call, by flow control.
    pub async fn seat(&self, context: &Context, asked: &Asked) -> Result<Option<Seat>, Status> {
        let seating = self.api.take_seat(
            context,
            asked.verb,
            asked.method,
            asked.target.as_ref(),
            asked.page_size,
        );
        seating.await.1
    }

    /// The kinds, newer ones if that of the reference is not known here: it may just have been defined elsewhere.
    pub async fn kinds_for(
        &self,
        context: &Context,
        reference: Option<&ObjectRef>,
    ) -> Result<Kinds, Status> {
        let kinds = self.api.kinds();
        match reference {
            Some(reference) if convert::kind_of(&kinds, reference).is_none() => {
                self.api.kinds_of_leader(context).await
            }
            _ => Ok(kinds),
        }
    }

    /// Runs a unary call within its deadline and the limit of calls at once.
    pub async fn unary<T>(
        &self,
        context: &Context,
        asked: &Asked,
        call: impl Future<Output = Result<T, Status>>,
    ) -> Result<Response<T>, tonic::Status> {
        let outcome = self.limited(context, asked, call).await;
        context.audit.complete_with(outcome.as_ref().map(|_| 200));
        if let Err(status) = &outcome {
            match status.reason {
                Reason::TooManyRequests => METRICS.api_throttled_total.inc(),
                reason if reason.http_code() >= 500 => METRICS.api_errors_total.inc(),
                _ => {}
            }
        }
        let mut answer = outcome
            .map(Response::new)
            .map_err(|status| to_tonic(&status));
        audit::tell_id(
            &context.audit,
            match &mut answer {
                Ok(response) => response.metadata_mut(),
                Err(status) => status.metadata_mut(),
            },
        );
        answer
    }

    async fn limited<T>(
        &self,
        context: &Context,
        asked: &Asked,
        call: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        let _seat = self.seat(context, asked).await?;
        let timeout = context.timeout.unwrap_or(TIMEOUT).min(TIMEOUT);
        tokio::time::timeout(timeout, call)
            .await
            .unwrap_or_else(|_| {
                let message =
                    "the call did not complete within its deadline; a write may still happen";
                Err(Status::new(Reason::Timeout, message))
            })
    }
}

/// `grpc-timeout`: at most eight digits and a unit.
fn timeout(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_read_from_the_metadata() {
        let read = |text: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().unwrap());
            timeout(&metadata)
        };
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!(read("2M"), Some(Duration::from_secs(120)));
        for odd in ["", "m", "5", "123456789S", "-1S", "1x"] {
            assert_eq!(read(odd), None, "{odd}");
        }
    }
}
