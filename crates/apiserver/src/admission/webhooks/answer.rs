//! Reading a reply: what upstream asks of it, and the refusal in upstream's words.

use base64::Engine as _;
use kontiki_base::status::{Details, Reason, Status};
use serde_json::{Value, json};

use super::call::Reply;
use super::configuration::Hook;

/// The reply to the review of that uid, or what is wrong with it.
pub(super) fn read(hook: &Hook, uid: &str, bytes: &[u8]) -> Result<Reply, String> {
    let review: Value = serde_json::from_slice(bytes)
        .map_err(|why| format!("couldn't get version/kind; json parse error: {why}"))?;
    let is_v1 = hook.review_version.ends_with("/v1");
    let response = review.get("response").filter(|found| found.is_object());
    let response = response.ok_or("webhook response was absent")?;
    if is_v1 {
        check_v1(&review, response, uid)?;
    }
    let allowed = response["allowed"].as_bool().unwrap_or_default();
    let patch = if allowed {
        patch(response, is_v1)?
    } else {
        None
    };
    let texts = response["warnings"].as_array().into_iter().flatten();
    let annotations = response["auditAnnotations"]
        .as_object()
        .into_iter()
        .flatten();
    Ok(Reply {
        refusal: (!allowed).then(|| refusal(&hook.name, &response["status"])),
        patch,
        warnings: texts.filter_map(Value::as_str).map(str::to_owned).collect(),
        annotations: annotations
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect(),
    })
}

fn check_v1(review: &Value, response: &Value, uid: &str) -> Result<(), String> {
    let text = |field: &str| review[field].as_str().unwrap_or_default();
    let found = response["uid"].as_str().unwrap_or_default();
    if found != uid {
        return Err(format!("expected response.uid={uid:?}, got {found:?}"));
    }
    if text("apiVersion") != "admission.k8s.io/v1" || text("kind") != "AdmissionReview" {
        let (version, kind) = (text("apiVersion"), text("kind"));
        return Err(format!(
            "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got {version}, Kind={kind}"
        ));
    }
    Ok(())
}

fn patch(response: &Value, is_v1: bool) -> Result<Option<Value>, String> {
    let Some(encoded) = response["patch"].as_str().filter(|patch| !patch.is_empty()) else {
        if is_v1 && !response["patchType"].is_null() {
            return Err("webhook returned response.patchType but not response.patch".to_owned());
        }
        return Ok(None);
    };
    match response["patchType"].as_str() {
        Some("JSONPatch") => {}
        None if !is_v1 => {}
        None => return Err("webhook returned response.patch but not response.patchType".to_owned()),
        Some(other) => {
            return Err(format!(
                "webhook returned invalid response.patchType of {other:?}"
            ));
        }
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(encoded);
    let decoded = decoded.map_err(|why| format!("response.patch: {why}"))?;
    let patch: Value =
        serde_json::from_slice(&decoded).map_err(|why| format!("response.patch: {why}"))?;
    match patch.as_array() {
        None => Err("response.patch is no JSON patch".to_owned()),
        Some(operations) if operations.is_empty() => Ok(None),
        Some(_) => Ok(Some(patch)),
    }
}

/// A hook's status as the client gets it: whatever it says, but that it refuses.
fn refusal(hook: &str, status: &Value) -> Status {
    let text = |field: &str| status[field].as_str().unwrap_or_default();
    let denied = format!("admission webhook {hook:?} denied the request");
    let message = match (text("message"), text("reason")) {
        ("", "") => format!("{denied} without explanation"),
        ("", reason) => format!("{denied}: {reason}"),
        (message, _) => format!("{denied}: {message}"),
    };
    let code = match status["code"].as_u64() {
        // Upstream lets no refusal look like a success.
        None | Some(..400) => 400,
        // No code of HTTP.
        Some(1000..) => 500,
        Some(code) => code,
    };
    let mut given = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}});
    for field in ["metadata", "status", "reason", "details"] {
        if let Some(found) = status.get(field).filter(|found| !found.is_null()) {
            given[field] = found.clone();
        }
    }
    if !matches!(given["status"].as_str(), Some(status) if !matches!(status, "" | "Success")) {
        given["status"] = "Failure".into();
    }
    given["message"] = message.as_str().into();
    given["code"] = code.into();
    let pause = given["details"]["retryAfterSeconds"].as_u64();
    let details = Details {
        retry_after_seconds: u32::try_from(pause.unwrap_or_default()).unwrap_or_default(),
        given: Some(Box::new(given)),
        ..Details::default()
    };
    Status::new(reason_of(text("reason"), code), message).with_details(details)
}

/// The nearest of our reasons, for who reads no HTTP: by its word, else by the code.
fn reason_of(word: &str, code: u64) -> Reason {
    let known = || Reason::ALL.iter().copied();
    let by_code = || known().find(|reason| u64::from(reason.http_code()) == code);
    let by_word = known().find(|reason| reason.as_str() == word);
    by_word.or_else(by_code).unwrap_or(match code {
        500.. => Reason::InternalError,
        _ => Reason::BadRequest,
    })
}
