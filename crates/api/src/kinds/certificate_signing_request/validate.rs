//! Rules of a CertificateSigningRequest (upstream `ValidateCertificateSigningRequest`).
//!
//! What an old object got wrong already is let pass, as upstream does for data of earlier versions.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{conditions_of, pem};
use crate::field_error::{FieldError, go_quote};
use crate::meta::names;
use crate::podspec::json::{difference, list, same, text};
use crate::podspec::path::{Errors, Path};
use crate::podspec::scaled::SPEC;

const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];
const MIN_SECONDS: i64 = 600;
const LEGACY_SIGNER: &str = "kubernetes.io/legacy-unknown";
const STATUS: Path<'static> = Path::root("status");
/// Conditions that, once there, stay.
const LASTING: [&str; 3] = ["Approved", "Denied", "Failed"];

/// Rules of a create or of an update of labels and the like.
pub fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    common(&mut errors, new, old);
    if let Some(old) = old {
        update(&mut errors, new, old, Writer::Anyone);
    }
    errors.0
}

/// Rules of a signer's update.
pub fn validate_status(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    common(&mut errors, new, Some(old));
    update(&mut errors, new, old, Writer::Signer);
    errors.0
}

/// Rules of an approver's update.
pub fn validate_approval(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    common(&mut errors, new, Some(old));
    update(&mut errors, new, old, Writer::Approver);
    errors.0
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Writer {
    Anyone,
    Signer,
    Approver,
}

fn common(errors: &mut Errors, new: &Value, old: Option<&Value>) {
    let request = text(new, "/spec/request");
    if let Err(why) = pem::check_request(request) {
        errors.invalid(SPEC.child("request"), request, why);
    }
    usages(errors, new, old);
    let signer = text(new, "/spec/signerName");
    let at = SPEC.child("signerName");
    let was_legacy = old.is_some_and(|old| text(old, "/spec/signerName") == LEGACY_SIGNER);
    if signer == LEGACY_SIGNER && !was_legacy {
        let detail = "the legacy signerName is not allowed via this API version";
        errors.invalid(at, signer, detail);
    } else {
        signer_name(errors, at, signer);
    }
    let seconds = new
        .pointer("/spec/expirationSeconds")
        .and_then(Value::as_i64);
    if let Some(seconds) = seconds.filter(|seconds| *seconds < MIN_SECONDS) {
        let detail = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.invalid(SPEC.child("expirationSeconds"), seconds, detail);
    }
    conditions(errors, new, old);
    let certificate = |request: &Value| text(request, "/status/certificate").to_owned();
    let kept = old.is_some_and(|old| {
        certificate(old) == certificate(new) || pem::check_certificates(&certificate(old)).is_err()
    });
    if let Err(why) = pem::check_certificates(&certificate(new))
        && !kept
    {
        errors.invalid(STATUS.child("certificate"), "<certificate data>", why);
    }
}

fn strings<'a>(object: &'a Value, pointer: &str) -> Vec<&'a str> {
    let items = list(object, pointer).iter();
    items
        .map(|item| item.as_str().unwrap_or_default())
        .collect()
}

fn has_duplicates(items: &[&str]) -> bool {
    let unique: BTreeSet<_> = items.iter().collect();
    unique.len() < items.len()
}

fn usages(errors: &mut Errors, new: &Value, old: Option<&Value>) {
    let at = SPEC.child("usages");
    let usages = strings(new, "/spec/usages");
    let before = old
        .map(|old| strings(old, "/spec/usages"))
        .unwrap_or_default();
    if usages.is_empty() {
        errors.required(at, "");
    }
    if before.iter().all(|usage| USAGES.contains(usage)) {
        for (i, usage) in usages.iter().enumerate() {
            errors.one_of_if(at.index(i), Some(usage), USAGES);
        }
    }
    if !has_duplicates(&before) {
        for (i, usage) in usages.iter().enumerate() {
            if usages[..i].contains(usage) {
                errors.duplicate(at.index(i), *usage);
            }
        }
    }
}

/// A signer's name: a domain and a path of labels.
fn signer_name(errors: &mut Errors, at: Path<'_>, name: &str) {
    const MAX_BYTES: usize = 253 + 1 + 253 + 63 + 1;
    if name.is_empty() {
        return errors.required(at, "");
    }
    let segments: Vec<&str> = name.split('/').collect();
    let [domain, path] = segments.as_slice() else {
        let detail =
            "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        return errors.invalid(at, name, detail);
    };
    if domain.len() > 253 {
        errors.too_long(at, 253);
    }
    let mut check = |whole: &str, rule: fn(&str) -> Vec<String>| {
        // Messages of further labels would be the same.
        for label in whole.split('.') {
            let messages = rule(label);
            for message in &messages {
                let detail = format!("validating label {}: {message}", go_quote(label));
                errors.invalid(at, whole, detail);
            }
            if !messages.is_empty() {
                break;
            }
        }
    };
    check(domain, names::dns1123_label);
    check(path, names::dns1123_subdomain);
    if !domain.contains('.') {
        let detail = "should be a domain with at least two segments separated by dots";
        errors.invalid(at, *domain, detail);
    }
    if name.len() > MAX_BYTES {
        errors.too_long(at, MAX_BYTES);
    }
}

fn conditions(errors: &mut Errors, new: &Value, old: Option<&Value>) {
    const EXCLUSIVE: &str = "Approved and Denied conditions are mutually exclusive";
    let types = |request: &Value| -> Vec<String> {
        let conditions = list(request, "/status/conditions").iter();
        conditions
            .map(|one| text(one, "/type").to_owned())
            .collect()
    };
    let before = old.map(types).unwrap_or_default();
    let before: Vec<&str> = before.iter().map(String::as_str).collect();
    let was_both = before.contains(&"Approved") && before.contains(&"Denied");
    let (was_twice, was_empty) = (has_duplicates(&before), before.contains(&""));
    let list_at = STATUS.child("conditions");
    let mut seen: Vec<&str> = Vec::new();
    for (i, condition) in list(new, "/status/conditions").iter().enumerate() {
        let at = list_at.index(i);
        let (kind, status) = (text(condition, "/type"), text(condition, "/status"));
        if kind.is_empty() && !was_empty {
            errors.required(at.child("type"), "");
        }
        let allowed: &[&str] = match LASTING.contains(&kind) {
            true => &["True"],
            false => &["False", "True", "Unknown"],
        };
        errors.one_of(at.child("status"), status, allowed);
        let opposite = match kind {
            "Approved" => "Denied",
            "Denied" => "Approved",
            _ => "",
        };
        if !opposite.is_empty() && seen.contains(&opposite) && !was_both {
            errors.invalid(at.child("type"), kind, EXCLUSIVE);
        }
        if seen.contains(&kind) && !was_twice {
            errors.duplicate(at.child("type"), kind);
        }
        seen.push(kind);
    }
}

fn update(errors: &mut Errors, new: &Value, old: &Value, writer: Writer) {
    let at = STATUS.child("conditions");
    for kind in LASTING {
        if conditions_of(new, kind).len() < conditions_of(old, kind).len() {
            let detail = format!("updates may not remove a condition of type \"{kind}\"");
            errors.forbidden(at, detail);
        }
    }
    if writer != Writer::Approver {
        for kind in ["Approved", "Denied"] {
            approval_unchanged(errors, at, kind, new, old);
        }
    }
    let certificate = |request: &Value| text(request, "/status/certificate").to_owned();
    if certificate(new) != certificate(old) {
        let at = STATUS.child("certificate");
        if writer != Writer::Signer {
            errors.forbidden(at, "updates may not set certificate content");
        } else if !certificate(old).is_empty() {
            errors.forbidden(at, "updates may not modify existing certificate content");
        }
    }
}

fn approval_unchanged(errors: &mut Errors, at: Path<'_>, kind: &str, new: &Value, old: &Value) {
    let all = |request| -> Value { conditions_of(request, kind).into_iter().cloned().collect() };
    let (new, old) = (all(new), all(old));
    let count = |conditions: &Value| conditions.as_array().map_or(0, Vec::len);
    if count(&new) > count(&old) {
        let detail = format!("updates may not add a condition of type \"{kind}\"");
        errors.forbidden(at, detail);
    } else if count(&new) == count(&old) && !same(&new, &old) {
        let difference = difference(&old, &new);
        let detail = format!("updates may not modify a condition of type \"{kind}\"\n{difference}");
        errors.forbidden(at, detail);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{check_creates, check_statuses, created, texts, with};
    use super::super::KIND;
    use super::super::tests::request;
    use super::*;
    use serde_json::json;

    #[test]
    fn broken_rules_are_told_in_upstreams_words() {
        check_creates(
            &KIND,
            &request(),
            &[
                (
                    "/spec/request",
                    json!("eA=="),
                    "spec.request: Invalid value: \"eA==\": PEM block type must be CERTIFICATE REQUEST",
                ),
                ("/spec/usages", json!([]), "spec.usages: Required value"),
                (
                    "/spec/usages/1",
                    json!("digital signature"),
                    "spec.usages[1]: Duplicate value: \"digital signature\"",
                ),
                (
                    "/spec/signerName",
                    json!(""),
                    "spec.signerName: Required value",
                ),
                (
                    "/spec/signerName",
                    json!("example.com"),
                    "spec.signerName: Invalid value: \"example.com\": must be a fully qualified domain and path of \
                     the form 'example.com/signer-name'",
                ),
                (
                    "/spec/signerName",
                    json!("example/x"),
                    "spec.signerName: Invalid value: \"example\": should be a domain with at least two segments \
                     separated by dots",
                ),
                (
                    "/spec/signerName",
                    json!("example.com/"),
                    "spec.signerName: Invalid value: \"\": validating label \"\": a lowercase RFC 1123 subdomain must \
                     consist of lower case alphanumeric characters, '-' or '.', and must start and end with an \
                     alphanumeric character (e.g. 'example.com', regex used for validation is \
                     '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
                ),
                (
                    "/spec/signerName",
                    json!(LEGACY_SIGNER),
                    "spec.signerName: Invalid value: \"kubernetes.io/legacy-unknown\": the legacy signerName is not \
                     allowed via this API version",
                ),
                (
                    "/spec/expirationSeconds",
                    json!(599),
                    "spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 600 seconds (10 \
                     minutes)",
                ),
            ],
        );
        let unknown = created(&KIND, &with(&request(), "/spec/usages/0", &json!("magic")));
        let errors = texts(&KIND.validate(&unknown, None));
        assert!(errors[0].starts_with(
            "spec.usages[0]: Unsupported value: \"magic\": supported values: \"any\", "
        ));
    }

    #[test]
    fn signers_do_not_approve_and_set_certificates_once() {
        let certificate = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K";
        check_statuses(
            &KIND,
            &request(),
            &[
                (
                    "/status/conditions",
                    json!([{"type": "Approved", "status": "True"}]),
                    "status.conditions: Forbidden: updates may not add a condition of type \"Approved\"",
                ),
                (
                    "/status/conditions",
                    json!([{"type": "Failed", "status": "False"}]),
                    "status.conditions[0].status: Unsupported value: \"False\": supported values: \"True\"",
                ),
                (
                    "/status/conditions",
                    json!([{"type": "X", "status": "True"}, {"type": "X", "status": "True"}]),
                    "status.conditions[1].type: Duplicate value: \"X\"",
                ),
                (
                    "/status/certificate",
                    json!(certificate),
                    "status.certificate: Invalid value: \"<certificate data>\": must contain at least one CERTIFICATE \
                     PEM block",
                ),
            ],
        );
        let mut old = created(&KIND, &request());
        old["status"] = json!({"certificate": "eA=="});
        let new = with(&old, "/status/certificate", &json!("eQ=="));
        assert_eq!(
            texts(&validate_status(&new, &old)),
            ["status.certificate: Forbidden: updates may not modify existing certificate content"]
        );
        assert_eq!(
            texts(&validate_approval(&new, &old)),
            ["status.certificate: Forbidden: updates may not set certificate content"]
        );
    }

    #[test]
    fn approvals_last_and_exclude_denials() {
        let mut old = created(&KIND, &request());
        let mut new = old.clone();
        new["status"] = json!({"conditions": [
            {"type": "Approved", "status": "True"}, {"type": "Denied", "status": "True"},
        ]});
        assert_eq!(
            texts(&validate_approval(&new, &old)),
            [
                "status.conditions[1].type: Invalid value: \"Denied\": Approved and Denied conditions are mutually \
              exclusive"
            ]
        );
        new["status"] = json!({"conditions": [{"type": "Approved", "status": "True"}]});
        assert_eq!(texts(&validate_approval(&new, &old)), [""; 0]);
        old["status"] = new["status"].clone();
        new["status"] = json!({});
        assert_eq!(
            texts(&validate_approval(&new, &old)),
            [
                "status.conditions: Forbidden: updates may not remove a condition of type \"Approved\""
            ]
        );
        new["status"] = with(&old, "/status/conditions/0/reason", &json!("X"))["status"].clone();
        assert_eq!(
            texts(&KIND.validate(&new, Some(&old))),
            [
                "status.conditions: Forbidden: updates may not modify a condition of type \"Approved\"\n  + [0].reason: \
              \"X\"\n"
            ]
        );
    }
}
