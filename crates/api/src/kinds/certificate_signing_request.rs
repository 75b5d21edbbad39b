//! CertificateSigningRequest: the kind, who asked for it, its columns. Rules are in `certificate_signing_request/`.
//!
//! The request itself is fixed at the create; approval goes through one subresource and the certificate through
//! another, so that different people may be allowed to do either.

pub mod pem;
mod validate;

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use serde_json::{Value, json};

use crate::admission::{Admission, Denied};
use crate::kind::{BuiltIn, Column, Hooks, Kind, Subresource, copy_field};
use crate::meta::names;
use crate::podspec::json::{Fields, ensure, into_object, list, text, unset};
use crate::{table, time};

/// The signer of certificates with which one speaks to the API.
pub const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";
/// The group that may do everything.
const MASTERS: &str = "system:masters";
/// The group of gateways of their own process, which repeat to replicas whom clients showed themselves as. Its members get
/// their certificates by a join token alone.
pub const GATEWAYS: &str = "system:kontiki:gateways";

/// CertificateSigningRequest.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "certificatesigningrequest",
    short_names: &["csr"],
    namespaced: false,
    subresources: &[Subresource::Approval, Subresource::Status],
    columns: &[
        Column::NAME,
        Column::AGE,
        Column::text(
            "SignerName",
            "signerName indicates the requested signer, and is a qualified name.",
        ),
        Column::text("Requestor", "Who asked for the certificate."),
        Column::text(
            "RequestedDuration",
            "expirationSeconds is the requested duration of validity of the issued certificate.",
        ),
        Column::text(
            "Condition",
            "conditions applied to the request. Known conditions are \"Approved\", \"Denied\", and \"Failed\".",
        ),
    ],
    selectable: &["spec.signerName"],
    name_rule: names::path_segment,
    hooks: Hooks {
        admit,
        prepare_create,
        prepare_update: |new, old| copy_field(new, old, "spec"),
        prepare_status,
        prepare_approval,
        validate: validate::validate,
        validate_status: validate::validate_status,
        validate_approval: validate::validate_approval,
        row,
        fields: |request| {
            vec![(
                "spec.signerName",
                text(request, "/spec/signerName").to_owned(),
            )]
        },
        ..Hooks::NONE
    },
    ..BuiltIn::of::<CertificateSigningRequest>()
});

/// Who asks is what the server knows, not what the body says; conditions tell when they changed.
fn admit(new: &mut Value, old: Option<&Value>, admission: &Admission<'_>) -> Result<(), Denied> {
    match (old, admission.subresource) {
        (None, _) => {
            requester(ensure(into_object(new), "spec"), admission);
            restrict_subject(new)
        }
        (Some(old), Some(Subresource::Status | Subresource::Approval)) => {
            timestamps(new, old, admission.now);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn requester(spec: &mut Fields, admission: &Admission<'_>) {
    for field in ["username", "uid", "groups", "extra"] {
        spec.remove(field);
    }
    let requester = &admission.requester;
    for (field, value) in [("username", requester.name), ("uid", requester.uid)] {
        if !value.is_empty() {
            spec.insert(field.to_owned(), value.into());
        }
    }
    if !requester.groups.is_empty() {
        spec.insert("groups".to_owned(), json!(requester.groups));
    }
    if let Some(extra) = requester.extra.filter(|extra| !extra.is_empty()) {
        spec.insert("extra".to_owned(), json!(extra));
    }
}

/// Nobody becomes a master by a certificate (upstream's plugin CertificateSubjectRestriction), or a gateway.
fn restrict_subject(request: &Value) -> Result<(), Denied> {
    if text(request, "/spec/signerName") != CLIENT_SIGNER {
        return Ok(());
    }
    // A request that cannot be read is refused by validation.
    let organizations = pem::organizations(text(request, "/spec/request")).unwrap_or_default();
    match organizations
        .iter()
        .find(|group| [MASTERS, GATEWAYS].contains(&group.as_str()))
    {
        Some(group) => Err(Denied(format!(
            "use of {CLIENT_SIGNER} signer with {group} group is not allowed"
        ))),
        None => Ok(()),
    }
}

fn timestamps(new: &mut Value, old: &Value, now: &str) {
    let before = list(old, "/status/conditions");
    let conditions = new
        .pointer_mut("/status/conditions")
        .and_then(Value::as_array_mut);
    for condition in conditions.into_iter().flatten().map(into_object) {
        if unset(condition, "lastUpdateTime") {
            condition.insert("lastUpdateTime".to_owned(), now.into());
        }
        if !unset(condition, "lastTransitionTime") {
            continue;
        }
        let same = |old: &&Value| {
            Some(&old["type"]) == condition.get("type")
                && Some(&old["status"]) == condition.get("status")
        };
        let since = before.iter().find(same);
        let since = since.map_or("", |condition| text(condition, "/lastTransitionTime"));
        let since = if since.is_empty() { now } else { since };
        condition.insert("lastTransitionTime".to_owned(), since.into());
    }
}

fn prepare_create(request: &mut Value) {
    into_object(request).insert("status".to_owned(), json!({}));
}

fn conditions_of<'a>(request: &'a Value, kind: &str) -> Vec<&'a Value> {
    let conditions = list(request, "/status/conditions").iter();
    conditions
        .filter(|condition| text(condition, "/type") == kind)
        .collect()
}

/// A signer neither approves nor denies: such conditions stay as they were.
fn prepare_status(new: &mut Value, old: &Value) {
    for kind in ["Approved", "Denied"] {
        let before: Vec<Value> = conditions_of(old, kind).into_iter().cloned().collect();
        // One more or one less is told as an error.
        if before.len() != conditions_of(new, kind).len() {
            continue;
        }
        let conditions = new
            .pointer_mut("/status/conditions")
            .and_then(Value::as_array_mut);
        let same_kind = |condition: &&mut Value| condition["type"] == kind;
        let now = conditions.into_iter().flatten().filter(same_kind);
        now.zip(before).for_each(|(now, before)| *now = before);
    }
}

/// An approval changes conditions and nothing else of the status.
fn prepare_approval(new: &mut Value, old: &Value) {
    let conditions = new.pointer("/status/conditions").cloned();
    copy_field(new, old, "status");
    let status = ensure(into_object(new), "status");
    match conditions {
        Some(conditions) => status.insert("conditions".to_owned(), conditions),
        None => status.remove("conditions"),
    };
}

fn row(request: &Value, now_unix_ms: u64) -> Vec<Value> {
    let duration = request
        .pointer("/spec/expirationSeconds")
        .and_then(Value::as_i64);
    let duration = duration.map_or_else(
        || "<none>".to_owned(),
        |seconds| time::human_duration_ms(seconds.saturating_mul(1000)),
    );
    vec![
        table::name(request),
        table::age(request, now_unix_ms),
        table::text(request, "/spec/signerName", "<none>"),
        text(request, "/spec/username").into(),
        duration.into(),
        state(request).into(),
    ]
}

fn state(request: &Value) -> String {
    let has = |kind: &str| !conditions_of(request, kind).is_empty();
    let mut state = match () {
        () if has("Denied") => "Denied",
        () if has("Approved") => "Approved",
        () => "Pending",
    }
    .to_owned();
    if has("Failed") {
        state.push_str(",Failed");
    }
    if !text(request, "/status/certificate").is_empty() {
        state.push_str(",Issued");
    }
    state
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use super::super::testing::created;
    use super::*;
    use crate::admission::Requester;
    use crate::admission::testing::Given;

    /// Asks for a certificate of `system:node:n1` in `system:nodes`.
    pub(crate) const NODE_REQUEST: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIcU1JR1NBZ0VBTURBeEZUQVRCZ05WQkFvTURITjVjM1JsYlRwdWIyUmxjekVYTUJVR0ExVUVBd3dPYzNsegpkR1Z0T201dlpHVTZiakV3V1RBVEJnY3Foa2pPUFFJQkJnZ3Foa2pPUFFNQkJ3TkNBQVI1enJ3eGh0RytZdkowCmNDd2EwTXhmRCtjbFB1NmphMndwWmErN0FNNHV0UG1HbGUyUzdzYXJ3WlJwdDVOWEFxNTRZdUNBN0kvOTVONHYKVWtjQS80d01vQUF3Q2dZSUtvWkl6ajBFQXdJRFJ3QXdSQUlnT2xBUXduNVk5dEtuV3hYMjRFZ2R2RkxPTkNRKwp5TkxQNWFKVE9XSGNmOThDSUhNM2V1V3NwT0VXMTlVN3JrVUE2WGVqY3I2TTljU3gzbUd2dDZTRGljRU0KLS0tLS1FTkQgQ0VSVElGSUNBVEUgUkVRVUVTVC0tLS0tCg==";
    /// Asks for a certificate of `root` in `system:masters`.
    const MASTERS_REQUEST: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIa01JR0tBZ0VBTUNneEZ6QVZCZ05WQkFvTURuTjVjM1JsYlRwdFlYTjBaWEp6TVEwd0N3WURWUVFEREFSeQpiMjkwTUZrd0V3WUhLb1pJemowQ0FRWUlLb1pJemowREFRY0RRZ0FFemlmbVIrWmFWaGNiSlFGdjJCWk1GVFZ3CjlpSDJoeFZpOVNmZGl4d04xTDdJSU9CQ1MvY0JKQXZNbUp1VVRPZlk2Z1BEWXpXNnhpMnRYcDI5L1RlUWQ2QUEKTUFvR0NDcUdTTTQ5QkFNQ0Ewa0FNRVlDSVFEWlQ1Q21ZeGNRdElsZWNIMTRxYkRoTWVxWGI5R2pZT3FMQW9icQp6eVc3R0FJaEFNajZxOE5ncEM3bHdpR0s0cVFwcE9OaHJPcytaNWgrT0F0STZyK2twbGNDCi0tLS0tRU5EIENFUlRJRklDQVRFIFJFUVVFU1QtLS0tLQo=";

    pub(crate) fn request() -> Value {
        json!({"spec": {
            "request": NODE_REQUEST, "signerName": "kubernetes.io/kubelet-serving",
            "usages": ["digital signature", "server auth"], "expirationSeconds": 3600,
        }})
    }

    #[test]
    fn the_requester_is_written_down() {
        let none = Given::new(Vec::new());
        let groups = ["dev".to_owned()];
        let extra = BTreeMap::from([("from".to_owned(), vec!["token".to_owned()])]);
        let admission = Admission {
            requester: Requester {
                name: "jane",
                uid: "u1",
                groups: &groups,
                extra: Some(&extra),
            },
            ..none.admission()
        };
        let mut new = request();
        new["spec"]["username"] = json!("root");
        new["spec"]["extra"] = json!({"x": ["y"]});
        admit(&mut new, None, &admission).unwrap();
        let spec = &new["spec"];
        assert_eq!(
            (&spec["username"], &spec["uid"]),
            (&json!("jane"), &json!("u1"))
        );
        assert_eq!(spec["groups"], json!(["dev"]));
        assert_eq!(spec["extra"], json!({"from": ["token"]}));
        let new = created(&KIND, &new);
        assert_eq!(
            row(&new, 0)[2..],
            [
                json!("kubernetes.io/kubelet-serving"),
                json!("jane"),
                json!("60m"),
                json!("Pending"),
            ]
        );
    }

    #[test]
    fn nobody_becomes_a_master_by_certificate() {
        let none = Given::new(Vec::new());
        let mut new = request();
        new["spec"]["request"] = json!(MASTERS_REQUEST);
        assert!(admit(&mut new, None, &none.admission()).is_ok());
        new["spec"]["signerName"] = json!(CLIENT_SIGNER);
        let why = "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed";
        let denied = admit(&mut new, None, &none.admission());
        assert_eq!(denied, Err(Denied(why.to_owned())));
    }

    #[test]
    fn conditions_tell_when_they_changed() {
        let none = Given::new(Vec::new());
        let mut old = created(&KIND, &request());
        old["status"] = json!({"conditions": [{"type": "Approved", "status": "True",
            "lastUpdateTime": "2025-01-01T00:00:00Z", "lastTransitionTime": "2025-01-01T00:00:00Z"}]});
        let mut new = old.clone();
        new["status"]["conditions"] = json!([
            {"type": "Approved", "status": "True"}, {"type": "Failed", "status": "True"},
        ]);
        let admission = Admission {
            subresource: Some(Subresource::Status),
            ..none.admission()
        };
        admit(&mut new, Some(&old), &admission).unwrap();
        let conditions = &new["status"]["conditions"];
        assert_eq!(conditions[0]["lastTransitionTime"], "2025-01-01T00:00:00Z");
        assert_eq!(conditions[0]["lastUpdateTime"], admission.now);
        assert_eq!(conditions[1]["lastTransitionTime"], admission.now);
        KIND.prepare_status(&mut new, &old);
        assert_eq!(
            new["status"]["conditions"][0],
            old["status"]["conditions"][0]
        );
        assert_eq!(state(&new), "Approved,Failed");
    }

    #[test]
    fn approvals_change_conditions_alone() {
        let mut old = created(&KIND, &request());
        old["status"] = json!({"certificate": "eA=="});
        let mut new = old.clone();
        new["spec"]["signerName"] = json!("other.example/x");
        new["status"] = json!({"conditions": [{"type": "Denied", "status": "True"}]});
        KIND.prepare_approval(&mut new, &old);
        assert_eq!(new["spec"], old["spec"]);
        assert_eq!(new["status"]["certificate"], "eA==");
        assert_eq!(state(&new), "Denied,Issued");
    }
}
