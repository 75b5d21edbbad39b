//! From a checked object to what the store keeps: canonical bytes and the parts of its header.
//!
//! Not here: the store. `kontiki-state` builds its header from these parts.

use bytes::Bytes;
use serde_json::Value;

use crate::kind::Kind;
use crate::meta::Meta;

/// What the store indexes of one object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderParts {
    /// Uid.
    pub uid: String,
    /// Labels, sorted by key.
    pub labels: Vec<(String, String)>,
    /// Selectable fields beyond name and namespace.
    pub fields: Vec<(String, String)>,
    /// Uids of the owners.
    pub owners: Vec<String>,
    /// Whether a deletion is under way.
    pub deleting: bool,
}

/// The header parts of an object.
pub fn header_of(kind: &Kind, object: &Value) -> HeaderParts {
    let meta = Meta::of(object);
    let own = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    let mut labels: Vec<(String, String)> = meta.labels().map(own).collect();
    labels.sort_unstable();
    let fields = kind.fields(object).into_iter();
    HeaderParts {
        uid: meta.uid().to_owned(),
        labels,
        fields: fields
            .map(|(field, value)| (field.to_owned(), value))
            .collect(),
        owners: meta.owner_uids().map(str::to_owned).collect(),
        deleting: meta.is_deleting(),
    }
}

/// The bytes to store: compact JSON with `apiVersion`, `kind` and all but `metadata.resourceVersion`; equal objects
/// give equal bytes, as `serde_json` sorts keys.
pub fn canonical(mut object: Value) -> Bytes {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("resourceVersion");
        metadata.remove("selfLink");
    }
    serde_json::to_vec(&object).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::by_resource;
    use serde_json::json;

    #[test]
    fn bytes_are_canonical() {
        let one = json!({"kind": "A", "metadata": {"resourceVersion": "9", "name": "x"}});
        let two = json!({"metadata": {"name": "x"}, "kind": "A"});
        assert_eq!(canonical(one), canonical(two.clone()));
        assert_eq!(
            &canonical(two)[..],
            br#"{"kind":"A","metadata":{"name":"x"}}"#
        );
    }

    #[test]
    fn headers_carry_what_is_indexed() {
        let secret = json!({"type": "Opaque", "metadata": {"uid": "u", "deletionTimestamp": "t",
            "labels": {"b": "2", "a": "1"}, "ownerReferences": [{"uid": "o"}]}});
        let header = header_of(by_resource("secrets").unwrap(), &secret);
        assert_eq!(
            header,
            HeaderParts {
                uid: "u".into(),
                labels: vec![("a".into(), "1".into()), ("b".into(), "2".into())],
                fields: vec![("type".into(), "Opaque".into())],
                owners: vec!["o".into()],
                deleting: true,
            }
        );
    }
}
