//! Secret (upstream `pkg/registry/core/secret`, `ValidateSecret`).

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Map, Value};

use super::config_map::{MAX_DATA_BYTES, decoded_len};
use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Column, Hooks, Kind};
use crate::meta::{Meta, names, object_mut};
use crate::table;

const OPAQUE: &str = "Opaque";
/// Type of the Secrets that hold a token of a ServiceAccount.
pub const SERVICE_ACCOUNT_TOKEN: &str = "kubernetes.io/service-account-token";
/// Annotation with the name of the ServiceAccount that such a token is for.
pub const SERVICE_ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
/// Annotation with its uid.
pub const SERVICE_ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";

/// Secret.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "secret",
    columns: &[
        Column::NAME,
        Column::text(
            "Type",
            "Used to facilitate programmatic handling of secret data.",
        ),
        Column::text("Data", "Data contains the secret data."),
        Column::AGE,
    ],
    selectable: &["type"],
    hooks: Hooks {
        default,
        validate,
        row,
        fields,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<Secret>()
});

fn default(object: &mut Value) {
    let fields = object_mut(object);
    if fields
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .is_empty()
    {
        fields.insert("type".to_owned(), OPAQUE.into());
    }
    // `stringData` is write-only: it lands in `data`.
    let Some(Value::Object(texts)) = fields.remove("stringData") else {
        return;
    };
    if texts.is_empty() {
        return;
    }
    let data = object_mut(fields.entry("data").or_insert_with(|| Map::new().into()));
    for (key, value) in texts {
        let text = value.as_str().unwrap_or_default();
        data.insert(key, STANDARD.encode(text).into());
    }
}

fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let kind = text(new, "type");
    if let Some(old) = old {
        if kind != text(old, "type") {
            errors.push(FieldError::invalid("type", kind, "field is immutable"));
        }
        errors.extend(immutable_errors(new, old, &["data"]));
    }
    let mut size_bytes = 0;
    for (key, value) in entries(new, "data") {
        let path = format!("data[{key}]");
        errors.extend(FieldError::invalid_each(
            &path,
            key,
            names::config_map_key(key),
        ));
        size_bytes += decoded_len(value);
    }
    if size_bytes > MAX_DATA_BYTES {
        errors.push(FieldError::too_long("data", MAX_DATA_BYTES));
    }
    errors.extend(validate_type(new, kind));
    errors
}

/// What each well-known type must hold.
fn validate_type(secret: &Value, kind: &str) -> Vec<FieldError> {
    let data = |key: &str| secret.get("data").and_then(|data| data.get(key)?.as_str());
    let required = |key: &str| FieldError::required(format!("data[{key}]"), "");
    let absent = |keys: &[&str]| -> Vec<FieldError> {
        let absent = keys.iter().filter(|key| data(key).is_none());
        absent.map(|key| required(key)).collect()
    };
    match kind {
        SERVICE_ACCOUNT_TOKEN => {
            let name = Meta::of(secret)
                .annotation(SERVICE_ACCOUNT_NAME)
                .unwrap_or_default();
            let path = format!("metadata.annotations[{SERVICE_ACCOUNT_NAME}]");
            name.is_empty()
                .then(|| FieldError::required(path, ""))
                .into_iter()
                .collect()
        }
        "kubernetes.io/dockercfg" => json_errors(data(".dockercfg"), ".dockercfg"),
        "kubernetes.io/dockerconfigjson" => {
            json_errors(data(".dockerconfigjson"), ".dockerconfigjson")
        }
        "kubernetes.io/basic-auth" => match (data("username"), data("password")) {
            (None, None) => absent(&["username", "password"]),
            _ => Vec::new(),
        },
        "kubernetes.io/ssh-auth" => match data("ssh-privatekey").unwrap_or_default() {
            "" => vec![required("ssh-privatekey")],
            _ => Vec::new(),
        },
        "kubernetes.io/tls" => absent(&["tls.crt", "tls.key"]),
        _ => Vec::new(),
    }
}

fn json_errors(base64: Option<&str>, key: &str) -> Vec<FieldError> {
    let path = format!("data[{key}]");
    let Some(base64) = base64 else {
        return vec![FieldError::required(path, "")];
    };
    let bytes = STANDARD.decode(base64).unwrap_or_default();
    match serde_json::from_slice::<Map<String, Value>>(&bytes) {
        Ok(_) => Vec::new(),
        Err(error) => {
            let redacted = "<secret contents redacted>";
            vec![FieldError::invalid(path, redacted, error.to_string())]
        }
    }
}

/// What may not change once `immutable` is set; shared with ConfigMap.
pub(super) fn immutable_errors(new: &Value, old: &Value, bags: &[&str]) -> Vec<FieldError> {
    let is_immutable =
        |object: &Value| object.get("immutable").and_then(Value::as_bool) == Some(true);
    if !is_immutable(old) {
        return Vec::new();
    }
    let bag = |object: &Value, name: &str| -> Map<String, Value> {
        object
            .get(name)
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default()
    };
    let immutable = (!is_immutable(new)).then_some("immutable").into_iter();
    let changed = bags
        .iter()
        .copied()
        .filter(|name| bag(new, name) != bag(old, name));
    let fields = immutable.chain(changed);
    let detail = "field is immutable when `immutable` is set";
    fields
        .map(|field| FieldError::forbidden(field, detail))
        .collect()
}

/// The entries of a map of texts; shared with ConfigMap.
pub(super) fn entries<'a>(
    object: &'a Value,
    bag: &str,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let entries = object
        .get(bag)
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    entries.map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()))
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object
        .get(field)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn row(object: &Value, now_unix_ms: u64) -> Vec<Value> {
    vec![
        table::name(object),
        text(object, "type").into(),
        table::count(object, "/data").into(),
        table::age(object, now_unix_ms),
    ]
}

fn fields(object: &Value) -> Vec<(&'static str, String)> {
    vec![("type", text(object, "type").to_owned())]
}

/// Values shorter than this say nothing, and stand in many a text by chance.
const CONTENT_BYTES: usize = 4;

/// Errors of a Secret without its content: a JSON patch may copy a value to where it is wrong, and a refusal goes into
/// audit logs. Errors of other kinds are as they were.
pub fn without_content<'a>(
    kind: &Kind,
    object: &Value,
    errors: &'a [FieldError],
) -> Cow<'a, [FieldError]> {
    if *kind != KIND {
        return Cow::Borrowed(errors);
    }
    let values = object["data"].as_object().into_iter().flatten();
    let encoded = values.filter_map(|(_, value)| value.as_str());
    let encoded: Vec<&str> = encoded.filter(|text| text.len() >= CONTENT_BYTES).collect();
    let shows = |error: &&mut FieldError| {
        let text = error.bad_value.as_ref().map(Value::to_string);
        text.is_some_and(|text| encoded.iter().any(|value| text.contains(value)))
    };
    let mut errors = errors.to_vec();
    for error in errors.iter_mut().filter(shows) {
        error.bad_value = Some("(content of the Secret)".into());
    }
    Cow::Owned(errors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn string_data_overwrites_data() {
        let mut secret = json!({"data": {"a": "AA==", "b": "AA=="}, "stringData": {"a": "x"}});
        default(&mut secret);
        assert_eq!(
            secret,
            json!({"type": "Opaque", "data": {"a": "eA==", "b": "AA=="}})
        );
    }

    #[test]
    fn types_demand_their_keys_and_stay() {
        for (secret, texts) in [
            (
                json!({"type": "kubernetes.io/tls", "data": {"tls.crt": ""}}),
                vec!["data[tls.key]: Required value"],
            ),
            (
                json!({"type": "kubernetes.io/basic-auth", "data": {"password": ""}}),
                vec![],
            ),
            (
                json!({"type": "kubernetes.io/ssh-auth"}),
                vec!["data[ssh-privatekey]: Required value"],
            ),
            (
                json!({"type": "kubernetes.io/service-account-token"}),
                vec!["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
            ),
        ] {
            let errors = validate(&secret, None);
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            assert_eq!(errors, texts);
        }
        let errors = validate(&json!({"type": "a"}), Some(&json!({"type": "b"})));
        assert_eq!(
            errors[0].to_string(),
            "type: Invalid value: \"a\": field is immutable"
        );
    }

    #[test]
    fn refusals_do_not_show_content() {
        let object = json!({"data": {"k": "c2VjcmV0"}, "type": "c2VjcmV0"});
        let wrong = |value: &str| FieldError::invalid("type", value, "field is immutable");
        let told = |kind: &Kind, value: &str| {
            let errors = [wrong(value)];
            without_content(kind, &object, &errors)[0].bad_value.clone()
        };
        assert_eq!(
            told(&KIND, "c2VjcmV0"),
            Some(json!("(content of the Secret)"))
        );
        assert_eq!(told(&KIND, "Opaque"), Some(json!("Opaque")));
        let other = &crate::kinds::config_map::KIND;
        assert_eq!(told(other, "c2VjcmV0"), Some(json!("c2VjcmV0")));
    }
}
