//! `metadata.managedFields` in memory: one entry for each manager, decoded and encoded as upstream does.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use super::fieldset::FieldSet;
use crate::meta::metadata_mut;

/// Entries of updates beyond this many are merged, oldest first.
pub(crate) const UPDATE_MANAGERS: usize = 10;

/// What tells two entries apart. Appliers keep theirs across API versions, so it is empty for them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ManagerKey {
    pub(crate) manager: String,
    pub(crate) is_apply: bool,
    pub(crate) api_version: String,
    pub(crate) subresource: String,
}

impl fmt::Display for ManagerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.manager)?;
        if !self.subresource.is_empty() {
            write!(f, " with subresource {:?}", self.subresource)?;
        }
        if !self.is_apply {
            write!(f, " using {}", self.api_version)?;
        }
        Ok(())
    }
}

/// What a manager manages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Managed {
    pub(crate) fields: FieldSet,
    pub(crate) api_version: String,
    pub(crate) time: Option<String>,
}

/// All managers of an object.
pub(crate) type Managers = BTreeMap<ManagerKey, Managed>;

/// Reads the entries; none when one is malformed.
pub(crate) fn decode(entries: Vec<Value>) -> Option<Managers> {
    entries.into_iter().map(decode_entry).collect()
}

fn decode_entry(mut entry: Value) -> Option<(ManagerKey, Managed)> {
    let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    let is_apply = match entry["operation"].as_str() {
        Some("Apply") => true,
        Some("Update") => false,
        _ => return None,
    };
    let api_version = text("apiVersion");
    if api_version.is_empty() || entry["fieldsType"] != "FieldsV1" {
        return None;
    }
    let key = ManagerKey {
        manager: text("manager"),
        is_apply,
        api_version: if is_apply {
            String::new()
        } else {
            api_version.clone()
        },
        subresource: text("subresource"),
    };
    let time = entry["time"].as_str().map(str::to_owned);
    let fields = match entry["fieldsV1"].take() {
        Value::Null => FieldSet::default(),
        tree => FieldSet::from_json(tree)?,
    };
    let managed = Managed {
        fields,
        api_version,
        time,
    };
    Some((key, managed))
}

/// Writes the entries, in any order.
pub(crate) fn encode(managers: Managers) -> Vec<Value> {
    let entry = |(key, managed)| encode_entry(key, managed);
    managers.into_iter().map(entry).collect()
}

pub(crate) fn encode_entry(key: ManagerKey, managed: Managed) -> Value {
    let mut entry = Map::from_iter([
        ("manager".to_owned(), key.manager.into()),
        (
            "operation".to_owned(),
            if key.is_apply { "Apply" } else { "Update" }.into(),
        ),
        ("apiVersion".to_owned(), managed.api_version.into()),
        ("fieldsType".to_owned(), "FieldsV1".into()),
        ("fieldsV1".to_owned(), managed.fields.into_json()),
    ]);
    if let Some(time) = managed.time {
        entry.insert("time".into(), time.into());
    }
    if !key.subresource.is_empty() {
        entry.insert("subresource".into(), key.subresource.into());
    }
    Value::Object(entry)
}

/// Sorts entries as upstream does: by operation, time, manager, version, subresource.
pub(crate) fn sort(entries: &mut [Value]) {
    fn rank(entry: &Value) -> (bool, [&str; 4]) {
        let text = |field: &str| entry[field].as_str().unwrap_or_default();
        let is_update = text("operation") != "Apply";
        (
            is_update,
            ["time", "manager", "apiVersion", "subresource"].map(text),
        )
    }
    entries.sort_by(|a, b| rank(a).cmp(&rank(b)));
}

/// The entries of an object, none when it is not tracked.
pub(crate) fn entries_of(object: &Value) -> Option<&Vec<Value>> {
    object.get("metadata")?.get("managedFields")?.as_array()
}

/// Takes the entries out of an object.
pub(crate) fn take(object: &mut Value) -> Option<Value> {
    object
        .get_mut("metadata")?
        .as_object_mut()?
        .remove("managedFields")
}

/// Puts entries into an object, sorted.
pub(crate) fn put(object: &mut Value, mut entries: Vec<Value>) {
    if entries.is_empty() {
        take(object);
        return;
    }
    sort(&mut entries);
    metadata_mut(object).insert("managedFields".into(), Value::Array(entries));
}

/// Merges the oldest entries of updates into `ancient-changes` until few enough are left.
pub(crate) fn cap(managers: &mut Managers) {
    let mut updaters: Vec<ManagerKey> = managers
        .keys()
        .filter(|key| !key.is_apply)
        .cloned()
        .collect();
    if updaters.len() <= UPDATE_MANAGERS {
        return;
    }
    updaters.sort_by_key(|key| (managers[key].time.clone(), key.clone()));
    // One to drop for each above the cap, and one more that the first bucket needs.
    let n_merged = updaters.len() - UPDATE_MANAGERS + 1;
    for key in updaters.into_iter().take(n_merged) {
        let Some(mut old) = managers.remove(&key) else {
            continue;
        };
        let bucket = ManagerKey {
            manager: "ancient-changes".into(),
            is_apply: false,
            api_version: key.api_version.clone(),
            subresource: String::new(),
        };
        if let Some(before) = managers.remove(&bucket) {
            old.fields.add_all(before.fields);
        }
        managers.insert(bucket, old);
    }
}

/// Whether two objects are equal but for the times in their entries: such a write is no write.
pub fn equal_but_times(a: &Value, b: &Value) -> bool {
    equal_but(a, b, "metadata", |a, b| {
        equal_but(a, b, "managedFields", |a, b| match (a, b) {
            (Value::Array(a), Value::Array(b)) => {
                let equal = |(a, b)| equal_but(a, b, "time", |_, _| true);
                a.len() == b.len() && a.iter().zip(b).all(equal)
            }
            (a, b) => a == b,
        })
    })
}

/// Whether two values are equal, one field being compared in its own way; absent, it is null.
fn equal_but(
    a: &Value,
    b: &Value,
    field: &str,
    compare: impl FnOnce(&Value, &Value) -> bool,
) -> bool {
    let (Value::Object(fields), Value::Object(others)) = (a, b) else {
        return a == b;
    };
    let others = others.iter().filter(|(name, _)| *name != field);
    let fields = fields.iter().filter(|(name, _)| *name != field);
    fields.eq(others) && compare(&a[field], &b[field])
}
