//! The merge of an applied configuration into the live object: what the configuration sets wins, keyed lists keep
//! the live order and take new items where the configuration has them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use kontiki_base::status::Status;
use serde_json::{Map, Value};

use super::fieldset::Element;
use super::shape::Shape;
use super::walk::{is_leaf, items};

/// Merges `config` over `live`.
pub(crate) fn merge(shape: Shape<'_>, live: &Value, config: &Value) -> Result<Value, Status> {
    Ok(merge_at(shape, Some(live), Some(config))?.unwrap_or_else(|| Value::Object(Map::new())))
}

fn merge_at(
    shape: Shape<'_>,
    live: Option<&Value>,
    config: Option<&Value>,
) -> Result<Option<Value>, Status> {
    if is_leaf(shape, live, config) {
        return Ok(config.or(live).cloned());
    }
    let is_list = [live, config]
        .iter()
        .any(|side| matches!(side, Some(Value::Array(_))));
    if is_list {
        return merge_items(shape, items(live), items(config));
    }
    let empty = Map::new();
    let live = live.and_then(Value::as_object).unwrap_or(&empty);
    let config = config.and_then(Value::as_object).unwrap_or(&empty);
    let mut out = Map::new();
    let added = config.keys().filter(|name| !live.contains_key(*name));
    for name in live.keys().chain(added) {
        if let Some(value) = merge_at(shape.field(name), live.get(name), config.get(name))? {
            out.insert(name.clone(), value);
        }
    }
    Ok((!out.is_empty()).then_some(Value::Object(out)))
}

/// The state of one list merge; names after upstream's `visitListItems`.
struct ListMerge<'a> {
    shape: Shape<'a>,
    live: Vec<(Element, &'a Value)>,
    config: Vec<(Element, &'a Value)>,
    /// Live items by key; none where a key is there twice, for such items are not merged.
    live_by_key: BTreeMap<Element, Option<&'a Value>>,
    config_keys: BTreeSet<Element>,
    /// Keys on both sides, in the configuration's order, that are still to come.
    shared: VecDeque<Element>,
    merged: BTreeSet<Element>,
    out: Vec<Value>,
}

fn merge_items(
    shape: Shape<'_>,
    live: &[Value],
    config: &[Value],
) -> Result<Option<Value>, Status> {
    let keyed = |items: &'_ [Value]| -> Vec<Element> {
        items.iter().map(|item| shape.element(item)).collect()
    };
    let live: Vec<_> = keyed(live).into_iter().zip(live).collect();
    let config: Vec<_> = keyed(config).into_iter().zip(config).collect();
    let mut live_by_key = BTreeMap::new();
    for (key, item) in &live {
        let is_duplicate = live_by_key.contains_key(key);
        live_by_key.insert(key.clone(), (!is_duplicate).then_some(*item));
    }
    let config_keys: BTreeSet<Element> = config.iter().map(|(key, _)| key.clone()).collect();
    let shared = config.iter().map(|(key, _)| key);
    let shared = shared
        .filter(|key| live_by_key.contains_key(*key))
        .cloned()
        .collect();
    let (merged, out) = (BTreeSet::new(), Vec::new());
    ListMerge {
        shape,
        live,
        config,
        live_by_key,
        config_keys,
        shared,
        merged,
        out,
    }
    .run()
}

impl ListMerge<'_> {
    fn run(mut self) -> Result<Option<Value>, Status> {
        let (mut l, mut r) = (0, 0);
        while l < self.live.len() || r < self.config.len() {
            if let (Some((live_key, _)), Some((config_key, _))) =
                (self.live.get(l), self.config.get(r))
            {
                if live_key == config_key {
                    self.take_config(r)?;
                    l += 1;
                    r += 1;
                    continue;
                }
                let waits = self.shared.front().is_some_and(|next| next != live_key);
                if self.config_keys.contains(live_key) && waits {
                    l += 1;
                    continue;
                }
            }
            if let Some((key, item)) = self.live.get(l) {
                if !self.config_keys.contains(key) {
                    let merged = merge_at(self.shape.item(), Some(item), None)?;
                    self.out.extend(merged);
                    l += 1;
                    continue;
                } else if self.merged.contains(key) {
                    l += 1;
                }
            }
            if r < self.config.len() {
                self.take_config(r)?;
                r += 1;
            }
        }
        Ok((!self.out.is_empty()).then_some(Value::Array(self.out)))
    }

    fn take_config(&mut self, at: usize) -> Result<(), Status> {
        let (key, item) = self.config[at].clone();
        let live = self.live_by_key.get(&key).copied().flatten();
        let merged = merge_at(self.shape.item(), live, Some(item))?;
        self.out.extend(merged);
        if self.shared.front() == Some(&key) {
            self.shared.pop_front();
        }
        self.merged.insert(key);
        Ok(())
    }
}
