//! Failures as gRPC tells them: the code of the reason, and `google.rpc` details that a program can read.

use std::collections::HashMap;
use std::time::Duration;

use kontiki_base::status::{Reason, Status};
use tonic::Code;
use tonic_types::{ErrorDetails, StatusExt as _};

/// `ErrorInfo.domain` of all our errors.
const DOMAIN: &str = "kontiki";

/// A failure as a gRPC status: `ErrorInfo` always, `BadRequest` for invalid fields, `RetryInfo` where there is a pause.
pub fn to_tonic(status: &Status) -> tonic::Status {
    let details = status.details.as_deref().cloned().unwrap_or_default();
    let facts = [
        ("kind", details.kind),
        ("group", details.group),
        ("name", details.name),
    ];
    let facts: HashMap<String, String> = facts
        .into_iter()
        .filter(|(_, fact)| !fact.is_empty())
        .map(|(name, fact)| (name.to_owned(), fact))
        .collect();
    let mut rich = ErrorDetails::with_error_info(status.reason.as_str(), DOMAIN, facts);
    for cause in details
        .causes
        .into_iter()
        .filter(|cause| !cause.field.is_empty())
    {
        rich.add_bad_request_violation(cause.field, cause.message);
    }
    let pause_s = match (details.retry_after_seconds, status.reason) {
        (0, Reason::TooManyRequests | Reason::ServiceUnavailable) => 1,
        (seconds, _) => seconds,
    };
    if pause_s > 0 {
        rich.set_retry_info(Some(Duration::from_secs(pause_s.into())));
    }
    let code = Code::from_i32(status.reason.grpc_code());
    tonic::Status::with_error_details(code, status.message.clone(), rich)
}

/// A failure that came over gRPC from one of ours; of others, what their code says.
pub fn from_tonic(status: &tonic::Status) -> Status {
    let details = status.get_error_details();
    let told = details.error_info().filter(|info| info.domain == DOMAIN);
    let named = |reason: &&Reason| told.is_some_and(|info| info.reason == reason.as_str());
    let coded = |reason: &&Reason| Code::from_i32(reason.grpc_code()) == status.code();
    let reason = match status.code() {
        _ if told.is_some() => Reason::ALL.iter().find(named),
        Code::Unavailable => Some(&Reason::ServiceUnavailable),
        Code::DeadlineExceeded => Some(&Reason::Timeout),
        _ => Reason::ALL.iter().find(coded),
    };
    Status::new(
        reason.copied().unwrap_or(Reason::InternalError),
        status.message(),
    )
}

#[cfg(test)]
mod tests {
    use kontiki_base::status::{Cause, Details};

    use super::*;

    #[test]
    fn details_name_the_reason_the_fields_and_the_pause() {
        let cause = Cause {
            reason: "FieldValueRequired".into(),
            message: "Required value".into(),
            field: "spec.replicas".into(),
        };
        let details = Details {
            kind: "Deployment".into(),
            causes: vec![cause],
            ..Details::default()
        };
        let status = to_tonic(&Status::new(Reason::Invalid, "no").with_details(details));
        assert_eq!(status.code(), Code::InvalidArgument);
        let rich = status.get_error_details();
        assert_eq!(rich.error_info().unwrap().reason, "Invalid");
        assert_eq!(rich.error_info().unwrap().metadata["kind"], "Deployment");
        assert_eq!(
            rich.bad_request().unwrap().field_violations[0].field,
            "spec.replicas"
        );
        assert!(rich.retry_info().is_none());

        for reason in Reason::ALL {
            let status = Status::new(*reason, "why");
            assert_eq!(from_tonic(&to_tonic(&status)), status);
        }
        assert_eq!(
            from_tonic(&tonic::Status::unavailable("gone")).reason,
            Reason::ServiceUnavailable
        );

        let status = to_tonic(&Status::new(Reason::TooManyRequests, "full").with_retry_after(3));
        assert_eq!(status.code(), Code::ResourceExhausted);
        let pause = status.get_error_details().retry_info().unwrap().retry_delay;
        assert_eq!(pause, Some(Duration::from_secs(3)));
    }
}
