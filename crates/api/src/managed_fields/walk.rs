//! Walks over one or two trees along a schema: which paths a tree sets, in what two trees differ, a tree without
//! some of its paths.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::fieldset::{Element, FieldSet, Node};
use super::shape::Shape;

/// In what two trees differ.
#[derive(Debug, Clone, Default)]
pub(crate) struct Comparison {
    /// Paths that are only in the old one.
    pub(crate) removed: FieldSet,
    /// Paths that are only in the new one, or have another value there.
    pub(crate) changed: FieldSet,
}

impl Comparison {
    /// Takes a place out, with all below it.
    pub(crate) fn split_off(&mut self, element: &Element) -> Self {
        let mut part = Self::default();
        (part.removed).put(element.clone(), self.removed.take(element));
        (part.changed).put(element.clone(), self.changed.take(element));
        part
    }
}

/// The same of one place and below it.
#[derive(Default)]
struct Difference {
    removed: Node,
    changed: Node,
}

impl Difference {
    fn put(&mut self, child: Self, element: impl FnOnce() -> Element) {
        match (child.removed.is_empty(), child.changed.is_empty()) {
            (true, true) => {}
            (false, true) => self.removed.below.put(element(), child.removed),
            (true, false) => self.changed.below.put(element(), child.changed),
            (false, false) => {
                let element = element();
                self.removed.below.put(element.clone(), child.removed);
                self.changed.below.put(element, child.changed);
            }
        }
    }
}

/// The paths that a tree sets.
pub(crate) fn field_set(shape: Shape<'_>, value: &Value) -> FieldSet {
    collect(shape, value).below
}

fn collect(shape: Shape<'_>, value: &Value) -> Node {
    if shape.is_leaf_for(value) {
        return Node::leaf();
    }
    let mut set = Node::default();
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let mut node = collect(shape.field(name), field);
                let is_empty = field.is_null() || field.as_object().is_some_and(Map::is_empty);
                node.member |= is_empty || !shape.names(name);
                set.below.put(Element::field(name), node);
            }
        }
        Value::Array(items) => {
            for (element, group) in grouped(shape, items) {
                let mut node = match group[..] {
                    [only] => collect(shape.item(), only),
                    _ => Node::default(),
                };
                node.member = true;
                set.below.put(element, node);
            }
        }
        _ => {}
    }
    set
}

/// In what `new` differs from `old`, or from an object that was just made, but for what lies in or below `ignored`.
pub(crate) fn compare(
    shape: Shape<'_>,
    old: Option<&Value>,
    new: &Value,
    ignored: &FieldSet,
) -> Comparison {
    let Difference { removed, changed } = match old {
        Some(_) => compare_at(shape, old, Some(new), Some(ignored)),
        None => compare_new(shape, new, Some(ignored)),
    };
    let (removed, changed) = (removed.below, changed.below);
    Comparison { removed, changed }
}

/// In what a struct differs from the one that Go makes: not a bare one, for structs by value are there already, and
/// fields that are always written are null or zero.
fn compare_new(shape: Shape<'_>, new: &Value, ignored: Option<&FieldSet>) -> Difference {
    let mut out = Difference::default();
    for (name, value) in new.as_object().into_iter().flatten() {
        let ignored = ignored_at(ignored, name);
        if ignored.is_some_and(|node| node.member) {
            continue;
        }
        let field = shape.field(name);
        let child = match value {
            _ if !shape.is_born_with(name) => compare_at(field, None, Some(value), None),
            Value::Object(_) if !field.is_leaf_for(value) => {
                compare_new(field, value, ignored.map(|node| &node.below))
            }
            value if is_zero(value) => continue,
            value => compare_at(field, Some(&Value::Null), Some(value), None),
        };
        out.put(child, || Element::field(name));
    }
    out
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

fn ignored_at<'a>(ignored: Option<&'a FieldSet>, name: &str) -> Option<&'a Node> {
    let ignored = ignored.filter(|set| !set.is_empty())?;
    ignored.get(&Element::field(name))
}

fn compare_at(
    shape: Shape<'_>,
    old: Option<&Value>,
    new: Option<&Value>,
    ignored: Option<&FieldSet>,
) -> Difference {
    let mut out = Difference::default();
    if old == new {
        return out; // the most common case: a write changes little
    }
    let is_leaf = is_leaf(shape, old, new);
    if !is_leaf {
        let is_list = |side: Option<&Value>| matches!(side, Some(Value::Array(_)));
        out = if is_list(old) || is_list(new) {
            compare_items(shape, items(old), items(new))
        } else {
            compare_fields(shape, old, new, ignored)
        };
    }
    match (old, new) {
        (_, None) => out.removed.member = true,
        (None, _) => out.changed.member = true,
        _ => out.changed.member |= is_leaf,
    }
    out
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
    ignored: Option<&FieldSet>,
) -> Difference {
    let empty = Map::new();
    let old = old.and_then(Value::as_object).unwrap_or(&empty);
    let new = new.and_then(Value::as_object).unwrap_or(&empty);
    let added = new.keys().filter(|name| !old.contains_key(*name));
    let mut out = Difference::default();
    for name in old.keys().chain(added) {
        let ignored = ignored_at(ignored, name);
        if ignored.is_some_and(|node| node.member) {
            continue;
        }
        let below = ignored.map(|node| &node.below);
        let child = compare_at(shape.field(name), old.get(name), new.get(name), below);
        out.put(child, || Element::field(name));
    }
    out
}

fn compare_items(shape: Shape<'_>, old: &[Value], new: &[Value]) -> Difference {
    let (old, mut new) = (grouped(shape, old), grouped(shape, new));
    let mut out = Difference::default();
    for (element, before) in old {
        let after = new.remove(&element).unwrap_or_default();
        out.put(compare_group(shape, &before, &after), || element);
    }
    for (element, after) in new {
        out.put(compare_group(shape, &[], &after), || element);
    }
    out
}

/// Items that share a key are compared as if they were atomic.
fn compare_group(shape: Shape<'_>, before: &[&Value], after: &[&Value]) -> Difference {
    let (first, last) = (before.first().copied(), after.first().copied());
    match (before.len(), after.len()) {
        (0 | 1, 0 | 1) => compare_at(shape.item(), first, last, None),
        (2.., 2..) => {
            let mut out = Difference::default();
            out.changed.member = before != after;
            out
        }
        (2.., _) => {
            let mut out = compare_at(shape.item(), None, last, None);
            out.removed.member = true;
            out
        }
        (_, 2..) => {
            let mut out = compare_at(shape.item(), first, None, None);
            out.changed.member = true;
            out
        }
    }
}

fn grouped<'a>(shape: Shape<'_>, items: &'a [Value]) -> BTreeMap<Element, Vec<&'a Value>> {
    let mut groups = BTreeMap::<Element, Vec<&Value>>::new();
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
