//! `metadata.managedFields` in memory: one entry for each manager, decoded and encoded as upstream does.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value, json};

use super::fieldset::FieldSet;

/// Entries of updates beyond this many are merged, oldest first.
const UPDATE_MANAGERS: usize = 10;

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
pub(crate) fn decode(entries: Option<&Value>) -> Option<Managers> {
    let mut managers = Managers::new();
    for entry in entries
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice)
    {
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
        let fields = match &entry["fieldsV1"] {
            Value::Null => FieldSet::default(),
            tree => FieldSet::from_json(tree)?,
        };
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
        managers.insert(
            key,
            Managed {
                fields,
                api_version,
                time,
            },
        );
    }
    Some(managers)
}

/// Writes the entries in upstream's order: operation, time, manager, version, subresource.
pub(crate) fn encode(managers: &Managers) -> Option<Value> {
    let mut sorted: Vec<_> = managers.iter().collect();
    sorted.sort_by_key(|(key, managed)| {
        (
            !key.is_apply,
            &managed.time,
            &key.manager,
            &managed.api_version,
            &key.subresource,
        )
    });
    let entries: Vec<Value> = sorted
        .into_iter()
        .map(|(key, managed)| entry(key, managed))
        .collect();
    (!entries.is_empty()).then_some(Value::Array(entries))
}

fn entry(key: &ManagerKey, managed: &Managed) -> Value {
    let mut entry = json!({
        "manager": key.manager,
        "operation": if key.is_apply { "Apply" } else { "Update" },
        "apiVersion": managed.api_version,
        "fieldsType": "FieldsV1",
        "fieldsV1": managed.fields.to_json(),
    });
    if let Some(time) = &managed.time {
        entry["time"] = json!(time);
    }
    if !key.subresource.is_empty() {
        entry["subresource"] = json!(key.subresource);
    }
    entry
}

/// Takes the entries out of an object.
pub(crate) fn take(object: &mut Value) -> Option<Value> {
    object
        .get_mut("metadata")?
        .as_object_mut()?
        .remove("managedFields")
}

/// Puts entries into an object.
pub(crate) fn put(object: &mut Value, managers: &Managers) {
    take(object);
    if let Some(entries) = encode(managers) {
        let root = object.as_object_mut().expect("objects are JSON objects");
        let metadata = root
            .entry("metadata")
            .or_insert_with(|| Value::Object(Map::new()));
        metadata["managedFields"] = entries;
    }
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
        let Some(old) = managers.remove(&key) else {
            continue;
        };
        let bucket = ManagerKey {
            manager: "ancient-changes".into(),
            is_apply: false,
            api_version: key.api_version.clone(),
            subresource: String::new(),
        };
        let fields = managers
            .get(&bucket)
            .map(|bucket| bucket.fields.union(&old.fields));
        let fields = fields.unwrap_or_else(|| old.fields.clone());
        managers.insert(bucket, Managed { fields, ..old });
    }
}

/// Whether two objects are equal but for the times in their entries: such a write is no write.
pub(crate) fn equal_but_times(a: &Value, b: &Value) -> bool {
    let timeless = |object: &Value| {
        let mut object = object.clone();
        let entries = object
            .pointer_mut("/metadata/managedFields")
            .and_then(Value::as_array_mut);
        for entry in entries.into_iter().flatten() {
            if let Some(entry) = entry.as_object_mut() {
                entry.remove("time");
            }
        }
        object
    };
    a == b || timeless(a) == timeless(b)
}
