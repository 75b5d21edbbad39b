//! `metadata`: a read-only view, and what all kinds do with it before a write.
//!
//! Rules are in `meta/validate.rs`, names in `meta/names.rs`. Not here: who sets uid and timestamps (apiserver does).

use serde_json::{Map, Value};

pub mod names;
mod validate;

pub use validate::{
    validate, validate_annotations, validate_labels, validate_labels_map, validate_owners,
    validate_update,
};

pub(crate) const NAME_DESCRIPTION: &str = "Name must be unique within a namespace. Is required when creating \
resources, although some resources may allow a client to request the generation of an appropriate name \
automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. \
More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names";
pub(crate) const AGE_DESCRIPTION: &str = "CreationTimestamp is a timestamp representing the server time when this \
object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may \
not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for \
lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

/// A read-only view of an object's `metadata`; absent strings read as empty.
#[derive(Debug, Clone, Copy)]
pub struct Meta<'a>(Option<&'a Map<String, Value>>);

impl<'a> Meta<'a> {
    /// The metadata of `object`.
    pub fn of(object: &'a Value) -> Self {
        Self(object.get("metadata").and_then(Value::as_object))
    }

    /// Any field.
    pub fn get(self, field: &str) -> Option<&'a Value> {
        self.0?.get(field)
    }

    /// A string field, empty when absent.
    pub fn text(self, field: &str) -> &'a str {
        self.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// Name.
    pub fn name(self) -> &'a str {
        self.text("name")
    }

    /// Prefix of a name to make.
    pub fn generate_name(self) -> &'a str {
        self.text("generateName")
    }

    /// Namespace.
    pub fn namespace(self) -> &'a str {
        self.text("namespace")
    }

    /// Uid.
    pub fn uid(self) -> &'a str {
        self.text("uid")
    }

    /// Resource version as text.
    pub fn resource_version(self) -> &'a str {
        self.text("resourceVersion")
    }

    /// Creation time as text.
    pub fn creation_timestamp(self) -> &'a str {
        self.text("creationTimestamp")
    }

    /// Generation, 0 when absent.
    pub fn generation(self) -> i64 {
        self.get("generation")
            .and_then(Value::as_i64)
            .unwrap_or_default()
    }

    /// Whether a deletion is under way.
    pub fn is_deleting(self) -> bool {
        self.get("deletionTimestamp")
            .is_some_and(|time| !time.is_null())
    }

    /// Whether it is known who set which field.
    pub fn is_tracked(self) -> bool {
        self.get("managedFields").is_some()
    }

    /// Labels, as (key, value).
    pub fn labels(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.strings("labels")
    }

    /// Annotations, as (key, value).
    pub fn annotations(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.strings("annotations")
    }

    /// One annotation.
    pub fn annotation(self, key: &str) -> Option<&'a str> {
        self.get("annotations")?.get(key)?.as_str()
    }

    /// Finalizers.
    pub fn finalizers(self) -> Vec<&'a str> {
        let list = self.get("finalizers").and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect()
    }

    /// Owner references.
    pub fn owners(self) -> &'a [Value] {
        self.get("ownerReferences")
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    /// Uids of all owners.
    pub fn owner_uids(self) -> impl Iterator<Item = &'a str> {
        self.owners()
            .iter()
            .filter_map(|owner| owner.get("uid")?.as_str())
    }

    fn strings(self, field: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let map = self.get(field).and_then(Value::as_object);
        map.into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
    }
}

/// The metadata of `object`, made when absent; a non-object value is replaced.
pub fn metadata_mut(object: &mut Value) -> &mut Map<String, Value> {
    object_mut(
        object_mut(object)
            .entry("metadata")
            .or_insert_with(|| Map::new().into()),
    )
}

/// `value` as a JSON object, made so when it is none.
pub fn object_mut(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("just made one")
}

/// Drops what a user may not set at a create, and starts the generation for kinds that count it.
pub fn prepare_create(object: &mut Value, counts_generation: bool) {
    let metadata = metadata_mut(object);
    for field in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "generation",
    ] {
        metadata.remove(field);
    }
    if counts_generation {
        metadata.insert("generation".to_owned(), 1.into());
    }
}

/// Maps and lists of nothing are left out, as upstream reads them: `kubectl diff` sends empty annotations, which nobody
/// is then the manager of.
pub fn drop_empty(object: &mut Value) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    for field in ["annotations", "labels", "finalizers", "ownerReferences"] {
        let is_empty = match metadata.get(field) {
            Some(Value::Object(fields)) => fields.is_empty(),
            Some(Value::Array(items)) => items.is_empty(),
            _ => false,
        };
        if is_empty {
            metadata.remove(field);
        }
    }
}

/// Fills in what a client may leave out of an update, and keeps what no client may change.
pub fn prepare_update(new: &mut Value, old: &Value) {
    let old = Meta::of(old);
    let metadata = metadata_mut(new);
    metadata.remove("selfLink");
    keep(metadata, old, "generation");
    for field in ["uid", "creationTimestamp"] {
        if metadata
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .is_empty()
        {
            keep(metadata, old, field);
        }
    }
    for field in ["name", "namespace"] {
        if !metadata.contains_key(field) {
            keep(metadata, old, field);
        }
    }
    // An update neither starts a deletion nor calls one back.
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds"] {
        if old.is_deleting() || !metadata.contains_key(field) {
            keep(metadata, old, field);
        }
    }
    if !old.is_deleting() {
        metadata.remove("deletionTimestamp");
        metadata.remove("deletionGracePeriodSeconds");
    }
}

fn keep(metadata: &mut Map<String, Value>, old: Meta<'_>, field: &str) {
    match old.get(field) {
        Some(value) => metadata.insert(field.to_owned(), value.clone()),
        None => metadata.remove(field),
    };
}

/// What an update of the status subresource may say about metadata, as upstream's strategy of the kind has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusMetadata {
    /// What any update may say, but for these fields.
    SentBut(&'static [&'static str]),
    /// Nothing (upstream's `ResetObjectMetaForStatus`).
    Kept,
}

/// Keeps all but the status and what `metadata` lets through as it is in `old`.
pub fn prepare_status(new: &mut Value, old: &Value, metadata: StatusMetadata) {
    let mut merged = old.clone();
    let status = new.get_mut("status").map(Value::take);
    let fields = object_mut(&mut merged);
    match status {
        Some(status) if !status.is_null() => fields.insert("status".to_owned(), status),
        _ => fields.remove("status"),
    };
    match metadata {
        StatusMetadata::Kept => take_identity(&mut merged, new),
        StatusMetadata::SentBut(kept) => {
            prepare_update(new, old);
            let sent = metadata_mut(new);
            for field in kept {
                keep(sent, Meta::of(old), field);
            }
            *metadata_mut(&mut merged) = std::mem::take(sent);
        }
    }
    *new = merged;
}

/// Keeps all but managed fields, the preconditions and what `take(kept, sent)` takes over of `new` as they are in `old`.
pub fn prepare_part(new: &mut Value, old: &Value, take: impl FnOnce(&mut Value, &mut Value)) {
    let mut merged = old.clone();
    take(&mut merged, new);
    take_identity(&mut merged, new);
    *new = merged;
}

/// What is compared with the stored object, and what the server itself wrote.
fn take_identity(merged: &mut Value, sent: &mut Value) {
    let metadata = metadata_mut(merged);
    for field in ["managedFields", "resourceVersion", "uid"] {
        let sent = sent
            .get_mut("metadata")
            .and_then(|sent| sent.get_mut(field))
            .map(Value::take);
        if let Some(sent) = sent.filter(|sent| !sent.is_null() && sent.as_str() != Some("")) {
            metadata.insert(field.to_owned(), sent);
        }
    }
}

/// Keeps all but `spec.finalizers` and the resource version of `new` as they are in `old`.
pub fn prepare_finalize(new: &mut Value, old: &Value) {
    let sent = new.clone();
    *new = old.clone();
    let spec = object_mut(
        object_mut(new)
            .entry("spec")
            .or_insert_with(|| Map::new().into()),
    );
    match sent.pointer("/spec/finalizers") {
        Some(finalizers) => spec.insert("finalizers".to_owned(), finalizers.clone()),
        None => spec.remove("finalizers"),
    };
    let version = Meta::of(&sent).resource_version();
    if !version.is_empty() {
        metadata_mut(new).insert("resourceVersion".to_owned(), version.into());
    }
}

/// Raises the generation when anything but metadata and status differs from `old`.
pub fn count_generation(new: &mut Value, old: &Value) {
    let counted = |field: &str| !matches!(field, "metadata" | "status" | "kind" | "apiVersion");
    fn fields(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
        object.as_object().into_iter().flatten()
    }
    let counts = |(field, value): &(&String, &Value)| counted(field) && !value.is_null();
    let same = fields(new).filter(counts).eq(fields(old).filter(counts));
    if !same {
        let generation = Meta::of(old).generation() + 1;
        metadata_mut(new).insert("generation".to_owned(), generation.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn updates_keep_identity_and_count_generations() {
        let old = json!({"metadata": {"name": "a", "uid": "u", "generation": 3}, "spec": {"x": 1}});
        let mut new = json!({"metadata": {"name": "a", "generation": 9,
            "deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"x": 1}});
        prepare_update(&mut new, &old);
        count_generation(&mut new, &old);
        assert_eq!(new, old);
        new["spec"]["x"] = json!(2);
        count_generation(&mut new, &old);
        assert_eq!(Meta::of(&new).generation(), 4);
    }

    #[test]
    fn what_is_empty_is_left_out() {
        let mut object = json!({"metadata": {"name": "a", "annotations": {}, "labels": {},
            "finalizers": [], "ownerReferences": []}});
        drop_empty(&mut object);
        assert_eq!(object, json!({"metadata": {"name": "a"}}));
        let kept = json!({"metadata": {"labels": {"x": "1"}, "finalizers": ["f"]}});
        let mut object = kept.clone();
        drop_empty(&mut object);
        assert_eq!(object, kept);
    }

    #[test]
    fn deletions_are_not_called_back() {
        let old = json!({"metadata": {"name": "a", "deletionTimestamp": "t", "finalizers": ["f"]}});
        let mut new = json!({"metadata": {"name": "a"}});
        prepare_update(&mut new, &old);
        assert!(Meta::of(&new).is_deleting());
    }

    #[test]
    fn status_updates_change_no_spec_and_only_some_metadata() {
        let old = json!({"metadata": {"name": "a", "generation": 3, "labels": {"x": "1"}}, "spec": {"x": 1}});
        let sent = json!({"metadata": {"name": "a", "resourceVersion": "7", "generation": 9,
            "labels": {"x": "2"}, "annotations": {"y": "1"}}, "spec": {"x": 2}, "status": {"ok": true}});
        let after = |metadata| {
            let mut new = sent.clone();
            prepare_status(&mut new, &old, metadata);
            assert_eq!(new["spec"]["x"], 1);
            assert_eq!(new["status"]["ok"], true);
            new["metadata"].take()
        };
        let kept =
            json!({"name": "a", "generation": 3, "labels": {"x": "1"}, "resourceVersion": "7"});
        assert_eq!(after(StatusMetadata::Kept), kept);
        let labels_kept = json!({"name": "a", "generation": 3, "labels": {"x": "1"}, "annotations": {"y": "1"},
            "resourceVersion": "7"});
        assert_eq!(after(StatusMetadata::SentBut(&["labels"])), labels_kept);
        assert_eq!(
            after(StatusMetadata::SentBut(&[]))["labels"],
            json!({"x": "2"})
        );
    }
}
