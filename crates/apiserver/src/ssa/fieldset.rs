//! Sets of field paths, in memory as they are in `managedFields[].fieldsV1`: a trie of `f:name`, `k:{"key":..}`,
//! `v:value`, `i:index` elements, where `.` says that the path itself belongs to the set.
//!
//! The algebra is structured-merge-diff's `fieldpath.Set`: plain operations look at single paths, `subtract_below`
//! takes whole subtrees.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

/// One step of a path, spelled as in fieldsV1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Element(String);

impl Element {
    /// A field of a struct or an entry of a map.
    pub(crate) fn field(name: &str) -> Self {
        Self(format!("f:{name}"))
    }

    /// An item of a list that is keyed by some of its fields.
    pub(crate) fn key(fields: BTreeMap<String, Value>) -> Self {
        Self(format!("k:{}", Value::Object(fields.into_iter().collect())))
    }

    /// An item of a set.
    pub(crate) fn value(value: &Value) -> Self {
        Self(format!("v:{value}"))
    }

    /// The field's name, for `f:` elements.
    pub(crate) fn field_name(&self) -> Option<&str> {
        self.0.strip_prefix("f:")
    }

    /// Whether this names an item of a keyed list.
    pub(crate) fn is_key(&self) -> bool {
        self.0.starts_with("k:")
    }

    fn parse(text: &str) -> Option<Self> {
        match text.get(..2)? {
            "f:" | "i:" => Some(Self(text.to_owned())),
            "k:" => Some(Self::key(serde_json::from_str(&text[2..]).ok()?)),
            "v:" => Some(Self::value(&serde_json::from_str(&text[2..]).ok()?)),
            _ => None,
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rest = &self.0[2..];
        match &self.0[..2] {
            "f:" => write!(f, ".{rest}"),
            "k:" => {
                let fields: BTreeMap<String, Value> =
                    serde_json::from_str(rest).unwrap_or_default();
                let parts: Vec<String> = fields
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                write!(f, "[{}]", parts.join(","))
            }
            "v:" => write!(f, "[={rest}]"),
            _ => write!(f, "[{rest}]"),
        }
    }
}

/// A path from the object's root.
pub(crate) type Path = Vec<Element>;

/// A path as error messages spell it: `.spec.containers[name="app"].image`.
pub(crate) fn path_text(path: &[Element]) -> String {
    path.iter().map(ToString::to_string).collect()
}

/// A set of paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FieldSet {
    children: BTreeMap<Element, Node>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Node {
    member: bool,
    below: FieldSet,
}

impl Node {
    fn is_empty(&self) -> bool {
        !self.member && self.below.is_empty()
    }
}

impl FieldSet {
    pub(crate) fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    pub(crate) fn insert(&mut self, path: &[Element]) {
        let Some((first, rest)) = path.split_first() else {
            return;
        };
        let node = self.children.entry(first.clone()).or_default();
        if rest.is_empty() {
            node.member = true
        } else {
            node.below.insert(rest)
        }
    }

    #[cfg(test)]
    pub(crate) fn contains(&self, path: &[Element]) -> bool {
        let Some((first, rest)) = path.split_first() else {
            return false;
        };
        let Some(node) = self.children.get(first) else {
            return false;
        };
        if rest.is_empty() {
            node.member
        } else {
            node.below.contains(rest)
        }
    }

    /// Whether the element itself is a member here.
    pub(crate) fn has(&self, element: &Element) -> bool {
        self.children.get(element).is_some_and(|node| node.member)
    }

    /// Paths below an element, relative to it.
    pub(crate) fn below(&self, element: &Element) -> Option<&FieldSet> {
        self.children
            .get(element)
            .map(|node| &node.below)
            .filter(|set| !set.is_empty())
    }

    pub(crate) fn union(&self, other: &Self) -> Self {
        let mut out = self.clone();
        for (element, node) in &other.children {
            let mine = out.children.entry(element.clone()).or_default();
            mine.member |= node.member;
            mine.below = mine.below.union(&node.below);
        }
        out
    }

    pub(crate) fn intersection(&self, other: &Self) -> Self {
        self.combine(
            other,
            |mine, theirs| mine && theirs,
            Self::intersection,
            false,
        )
    }

    pub(crate) fn difference(&self, other: &Self) -> Self {
        self.combine(
            other,
            |mine, theirs| mine && !theirs,
            Self::difference,
            true,
        )
    }

    /// Like `difference`, but a member of `other` takes everything below it along.
    pub(crate) fn subtract_below(&self, other: &Self) -> Self {
        let mut children = BTreeMap::new();
        for (element, node) in &self.children {
            let kept = match other.children.get(element) {
                Some(theirs) if theirs.member => continue,
                Some(theirs) => Node {
                    member: node.member,
                    below: node.below.subtract_below(&theirs.below),
                },
                None => node.clone(),
            };
            if !kept.is_empty() {
                children.insert(element.clone(), kept);
            }
        }
        Self { children }
    }

    fn combine(
        &self,
        other: &Self,
        member: fn(bool, bool) -> bool,
        below: fn(&Self, &Self) -> Self,
        keep_alone: bool,
    ) -> Self {
        let mut children = BTreeMap::new();
        for (element, node) in &self.children {
            let kept = match other.children.get(element) {
                Some(theirs) => Node {
                    member: member(node.member, theirs.member),
                    below: below(&node.below, &theirs.below),
                },
                None if keep_alone => node.clone(),
                None => continue,
            };
            if !kept.is_empty() {
                children.insert(element.clone(), kept);
            }
        }
        Self { children }
    }

    /// The same set with further members: those elements for which `is_named` says so, given the element and the
    /// place `at`; `descend` walks the place along.
    pub(crate) fn with_named_members<T: Copy>(
        &self,
        at: T,
        is_named: fn(T, &Element) -> bool,
        descend: fn(T, &Element) -> T,
    ) -> Self {
        let node = |(element, node): (&Element, &Node)| {
            let member = node.member || (!node.below.is_empty() && is_named(at, element));
            let below = node
                .below
                .with_named_members(descend(at, element), is_named, descend);
            (element.clone(), Node { member, below })
        };
        Self {
            children: self.children.iter().map(node).collect(),
        }
    }

    /// All member paths, in order.
    pub(crate) fn paths(&self) -> Vec<Path> {
        let (mut out, mut path) = (Vec::new(), Vec::new());
        self.collect_paths(&mut path, &mut out);
        out
    }

    fn collect_paths(&self, path: &mut Path, out: &mut Vec<Path>) {
        for (element, node) in &self.children {
            path.push(element.clone());
            if node.member {
                out.push(path.clone());
            }
            node.below.collect_paths(path, out);
            path.pop();
        }
    }

    /// The fieldsV1 tree.
    pub(crate) fn to_json(&self) -> Value {
        let mut out = Map::new();
        for (element, node) in &self.children {
            let mut below = node.below.to_json();
            if let (true, false, Value::Object(fields)) =
                (node.member, node.below.is_empty(), &mut below)
            {
                fields.insert(".".into(), Value::Object(Map::new()));
            }
            out.insert(element.0.clone(), below);
        }
        Value::Object(out)
    }

    /// Reads a fieldsV1 tree; none when it is malformed.
    pub(crate) fn from_json(tree: &Value) -> Option<Self> {
        let mut children = BTreeMap::new();
        for (name, below) in tree.as_object()? {
            if name == "." {
                continue;
            }
            let fields = below.as_object()?;
            let member = fields.is_empty() || fields.contains_key(".");
            let below = Self::from_json(below)?;
            children.insert(Element::parse(name)?, Node { member, below });
        }
        Some(Self { children })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(tree: Value) -> FieldSet {
        FieldSet::from_json(&tree).unwrap()
    }

    #[test]
    fn fields_v1_round_trips_with_members_keys_and_values() {
        let tree = json!({
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}, "f:finalizers": {".": {}, "v:\"x/y\"": {}}},
            "f:spec": {"f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}}},
        });
        assert_eq!(set(tree.clone()).to_json(), tree);
        let unordered = json!({"f:p": {"k:{\"protocol\":\"TCP\", \"port\":80}": {}}});
        let texts: Vec<String> = set(unordered)
            .paths()
            .iter()
            .map(|p| path_text(p))
            .collect();
        assert_eq!(texts, [".p[port=80,protocol=\"TCP\"]"]);
        for bad in [
            json!({"x:a": {}}),
            json!({"f:a": 1}),
            json!({"k:{": {}}),
            json!([]),
        ] {
            assert!(FieldSet::from_json(&bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_algebra_is_of_single_paths() {
        let a = set(json!({"f:a": {".": {}, "f:b": {}, "f:c": {}}}));
        let b = set(json!({"f:a": {"f:b": {}}, "f:d": {}}));
        assert_eq!(
            a.union(&b),
            set(json!({"f:a": {".": {}, "f:b": {}, "f:c": {}}, "f:d": {}}))
        );
        assert_eq!(a.intersection(&b), set(json!({"f:a": {"f:b": {}}})));
        assert_eq!(a.difference(&b), set(json!({"f:a": {".": {}, "f:c": {}}})));
        assert!(a.difference(&a).is_empty());
        let whole = set(json!({"f:a": {}}));
        assert_eq!(
            a.difference(&whole),
            set(json!({"f:a": {"f:b": {}, "f:c": {}}}))
        );
        assert!(a.subtract_below(&whole).is_empty());
        assert!(a.contains(&[Element::field("a"), Element::field("b")]));
        assert!(!b.contains(&[Element::field("a")]));
    }
}
