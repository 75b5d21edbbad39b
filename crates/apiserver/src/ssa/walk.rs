//! Walks over one or two trees along a schema: which paths a tree sets, in what two trees differ, a tree without
//! some of its paths.

use serde_json::{Map, Value};

use super::fieldset::{Element, FieldSet, Path};
use super::shape::Shape;

/// In what two trees differ; no path is in more than one set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Comparison {
    pub(crate) removed: FieldSet,
    pub(crate) modified: FieldSet,
    pub(crate) added: FieldSet,
}

impl Comparison {
    /// Without what lies in or below `ignored`.
    pub(crate) fn without(self, ignored: &FieldSet) -> Self {
        Self {
            removed: self.removed.subtract_below(ignored),
            modified: self.modified.subtract_below(ignored),
            added: self.added.subtract_below(ignored),
        }
    }
}

/// The paths that a tree sets.
pub(crate) fn field_set(shape: Shape<'_>, value: &Value) -> FieldSet {
    let mut set = FieldSet::default();
    collect(shape, value, &mut Path::new(), &mut set);
    set
}

fn collect(shape: Shape<'_>, value: &Value, path: &mut Path, set: &mut FieldSet) {
    if shape.is_leaf_for(value) {
        set.insert(path);
        return;
    }
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                path.push(Element::field(name));
                collect(shape.field(name), field, path, set);
                let is_empty = field.is_null() || field.as_object().is_some_and(Map::is_empty);
                if is_empty || !shape.names(name) {
                    set.insert(path);
                }
                path.pop();
            }
        }
        Value::Array(items) => {
            let elements: Vec<Element> = items.iter().map(|item| shape.element(item)).collect();
            for (element, item) in elements.iter().zip(items) {
                path.push(element.clone());
                let is_duplicate = elements.iter().filter(|other| *other == element).count() > 1;
                if !is_duplicate {
                    collect(shape.item(), item, path, set);
                }
                set.insert(path);
                path.pop();
            }
        }
        _ => {}
    }
}

/// In what `new` differs from `old`.
pub(crate) fn compare(shape: Shape<'_>, old: &Value, new: &Value) -> Comparison {
    let mut out = Comparison::default();
    compare_at(shape, Some(old), Some(new), &mut Path::new(), &mut out);
    out
}

fn compare_at(
    shape: Shape<'_>,
    old: Option<&Value>,
    new: Option<&Value>,
    path: &mut Path,
    out: &mut Comparison,
) {
    if is_leaf(shape, old, new) {
        match (old, new) {
            (None, Some(_)) => out.added.insert(path),
            (Some(_), None) => out.removed.insert(path),
            (Some(old), Some(new)) if old != new => out.modified.insert(path),
            _ => {}
        }
        return;
    }
    if matches!(old.or(new), Some(Value::Array(_))) || matches!(new, Some(Value::Array(_))) {
        compare_items(shape, items(old), items(new), path, out);
    } else {
        compare_fields(shape, old, new, path, out);
    }
    match (old, new) {
        (None, _) => out.added.insert(path),
        (_, None) => out.removed.insert(path),
        _ => {}
    }
}

/// Empty and null count as leaves, to keep the difference between them.
pub(crate) fn is_leaf(shape: Shape<'_>, old: Option<&Value>, new: Option<&Value>) -> bool {
    let is_empty = |value: Option<&Value>| match value {
        None | Some(Value::Null) => true,
        Some(Value::Object(fields)) => fields.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(_) => false,
    };
    let is_own_leaf = |value: Option<&Value>| {
        value.is_some_and(|value| !value.is_null() && shape.is_leaf_for(value))
    };
    (is_empty(old) && is_empty(new)) || is_own_leaf(old) || is_own_leaf(new)
}

pub(crate) fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn compare_fields(
    shape: Shape<'_>,
    old: Option<&Value>,
    new: Option<&Value>,
    path: &mut Path,
    out: &mut Comparison,
) {
    let empty = Map::new();
    let old = old.and_then(Value::as_object).unwrap_or(&empty);
    let new = new.and_then(Value::as_object).unwrap_or(&empty);
    let added = new
        .iter()
        .filter(|(name, _)| !old.contains_key(*name))
        .map(|(name, _)| name);
    for name in old.keys().chain(added) {
        path.push(Element::field(name));
        compare_at(shape.field(name), old.get(name), new.get(name), path, out);
        path.pop();
    }
}

fn compare_items(
    shape: Shape<'_>,
    old: &[Value],
    new: &[Value],
    path: &mut Path,
    out: &mut Comparison,
) {
    let (old, new) = (grouped(shape, old), grouped(shape, new));
    let added = new
        .iter()
        .filter(|(element, _)| !old.contains_key(*element));
    for element in old.keys().chain(added.map(|(element, _)| element)) {
        let before = old.get(element).map_or(&[][..], Vec::as_slice);
        let after = new.get(element).map_or(&[][..], Vec::as_slice);
        path.push(element.clone());
        match (before.len(), after.len()) {
            (0 | 1, 0 | 1) => {
                let (before, after) = (before.first().copied(), after.first().copied());
                compare_at(shape.item(), before, after, path, out);
            }
            // Items that share a key are compared as if they were atomic.
            (2.., 2..) if before != after => out.modified.insert(path),
            (2.., 2..) => {}
            (2.., _) => {
                if let Some(only) = after.first() {
                    compare_at(shape.item(), None, Some(only), path, out);
                }
                out.removed.insert(path);
            }
            (_, 2..) => {
                if let Some(only) = before.first() {
                    compare_at(shape.item(), Some(only), None, path, out);
                }
                out.added.insert(path);
            }
        }
        path.pop();
    }
}

fn grouped<'a>(
    shape: Shape<'_>,
    items: &'a [Value],
) -> std::collections::BTreeMap<Element, Vec<&'a Value>> {
    let mut groups = std::collections::BTreeMap::<Element, Vec<&Value>>::new();
    for item in items {
        groups.entry(shape.element(item)).or_default().push(item);
    }
    groups
}

/// The tree without the paths of `set`; what becomes empty by that is gone too.
pub(crate) fn remove(shape: Shape<'_>, value: &Value, set: &FieldSet) -> Option<Value> {
    if !value.is_object() && !value.is_array() {
        return Some(value.clone());
    }
    if shape.is_leaf_for(value) {
        return None;
    }
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter_map(|(name, field)| {
                let element = Element::field(name);
                let kept = keep(set, &element, shape.field(name), field)?;
                Some((name.clone(), kept))
            });
            let kept: Map<String, Value> = kept.collect();
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        Value::Array(items) => {
            let kept = items
                .iter()
                .filter_map(|item| keep(set, &shape.element(item), shape.item(), item));
            let kept: Vec<Value> = kept.collect();
            (!kept.is_empty()).then_some(Value::Array(kept))
        }
        _ => None,
    }
}

fn keep(set: &FieldSet, element: &Element, shape: Shape<'_>, value: &Value) -> Option<Value> {
    if set.has(element) {
        return None;
    }
    match set.below(element) {
        // Upstream keeps an emptied field as null, which its typed objects then drop.
        Some(below) => remove(shape, value, below),
        None => Some(value.clone()),
    }
}
