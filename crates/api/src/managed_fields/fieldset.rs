//! Sets of field paths, in memory as they are in `managedFields[].fieldsV1`: a trie of `f:name`, `k:{"key":..}`,
//! `v:value`, `i:index` elements, where `.` says that the path itself belongs to the set.
//!
//! The algebra is structured-merge-diff's `fieldpath.Set`: plain operations look at single paths, `subtract_below`
//! takes whole subtrees.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use serde_json::{Map, Value};

/// One step of a path, spelled as in fieldsV1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Element(String);

impl Element {
    /// A field of a struct or an entry of a map.
    pub(crate) fn field(name: &str) -> Self {
        let mut text = String::with_capacity(name.len() + 2);
        text.push_str("f:");
        text.push_str(name);
        Self(text)
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

    fn parse(text: String) -> Option<Self> {
        match text.get(..2)? {
            "f:" | "i:" => Some(Self(text)),
            "k:" => Some(Self::key(serde_json::from_str(&text[2..]).ok()?)),
            "v:" => Some(Self::value(&serde_json::from_str(&text[2..]).ok()?)),
            _ => None,
        }
    }
}

impl Borrow<str> for Element {
    fn borrow(&self) -> &str {
        &self.0
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

/// What a set says of one path, and of those below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Node {
    /// The path itself belongs to the set.
    pub(crate) member: bool,
    /// Paths below it.
    pub(crate) below: FieldSet,
}

impl Node {
    /// The path itself and nothing below it.
    pub(crate) fn leaf() -> Self {
        let below = FieldSet::default();
        Self {
            member: true,
            below,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.member && self.below.is_empty()
    }
}

impl FieldSet {
    /// The set of some paths of field names.
    pub(crate) fn of_fields(paths: &[&[&str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            let mut at = &mut set;
            for (idx, name) in path.iter().enumerate() {
                let node = at.children.entry(Element::field(name)).or_default();
                node.member |= idx + 1 == path.len();
                at = &mut node.below;
            }
        }
        set
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    /// Adds what is known of a place that this set has nothing of yet.
    pub(crate) fn put(&mut self, element: Element, node: Node) {
        debug_assert!(!self.children.contains_key(&element), "{element} twice");
        if !node.is_empty() {
            self.children.insert(element, node);
        }
    }

    /// Takes a place out, with all below it.
    pub(crate) fn take(&mut self, element: &Element) -> Node {
        self.children.remove(element).unwrap_or_default()
    }

    #[cfg(test)]
    pub(crate) fn contains(&self, path: &[Element]) -> bool {
        let Some((first, rest)) = path.split_first() else {
            return false;
        };
        match self.children.get(first) {
            Some(node) if rest.is_empty() => node.member,
            Some(node) => node.below.contains(rest),
            None => false,
        }
    }

    /// What the set says of an element.
    pub(crate) fn get(&self, element: &Element) -> Option<&Node> {
        self.children.get(element)
    }

    /// Whether the element itself is a member here.
    pub(crate) fn has(&self, element: &Element) -> bool {
        self.get(element).is_some_and(|node| node.member)
    }

    /// Paths below an element, relative to it.
    pub(crate) fn below(&self, element: &Element) -> Option<&FieldSet> {
        self.get(element)
            .map(|node| &node.below)
            .filter(|set| !set.is_empty())
    }

    /// Adds all paths of another set.
    pub(crate) fn add_all(&mut self, other: Self) {
        for (element, node) in other.children {
            match self.children.entry(element) {
                Entry::Vacant(place) => drop(place.insert(node)),
                Entry::Occupied(mut place) => {
                    let mine = place.get_mut();
                    mine.member |= node.member;
                    mine.below.add_all(node.below);
                }
            }
        }
    }

    /// Takes out all paths of another set.
    pub(crate) fn remove_all(&mut self, other: &Self) {
        for (element, theirs) in &other.children {
            if let Some(mine) = self.children.get_mut(element) {
                mine.member &= !theirs.member;
                mine.below.remove_all(&theirs.below);
                if mine.is_empty() {
                    self.children.remove(element);
                }
            }
        }
    }

    pub(crate) fn union(&self, other: &Self) -> Self {
        let mut out = self.clone();
        out.add_all(other.clone());
        out
    }

    pub(crate) fn difference(&self, other: &Self) -> Self {
        let mut out = self.clone();
        out.remove_all(other);
        out
    }

    pub(crate) fn intersection(&self, other: &Self) -> Self {
        let mut out = Self::default();
        for (element, node) in &self.children {
            if let Some(theirs) = other.children.get(element) {
                let both = Node {
                    member: node.member && theirs.member,
                    below: node.below.intersection(&theirs.below),
                };
                out.put(element.clone(), both);
            }
        }
        out
    }

    /// Like `difference`, but a member of `other` takes everything below it along.
    pub(crate) fn subtract_below(&self, other: &Self) -> Self {
        let mut out = Self::default();
        for (element, node) in &self.children {
            let kept = match other.children.get(element) {
                Some(theirs) if theirs.member => continue,
                Some(theirs) => Node {
                    member: node.member,
                    below: node.below.subtract_below(&theirs.below),
                },
                None => node.clone(),
            };
            out.put(element.clone(), kept);
        }
        out
    }

    /// Whether a path of this set is a member of a fieldsV1 tree: told without decoding the tree.
    pub(crate) fn meets(&self, tree: &Value) -> bool {
        self.children.iter().any(|(element, node)| {
            let theirs = tree.get(&element.0).and_then(Value::as_object);
            theirs.is_some_and(|fields| {
                let is_member = fields.is_empty() || fields.contains_key(".");
                (node.member && is_member)
                    || (!node.below.is_empty() && node.below.meets(&tree[&element.0]))
            })
        })
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
    pub(crate) fn into_json(self) -> Value {
        Value::Object(self.into_fields())
    }

    fn into_fields(self) -> Map<String, Value> {
        let field = |(element, node): (Element, Node)| {
            let mut fields = node.below.into_fields();
            if node.member && !fields.is_empty() {
                fields.insert(".".into(), Value::Object(Map::new()));
            }
            (element.0, Value::Object(fields))
        };
        self.children.into_iter().map(field).collect()
    }

    /// Reads a fieldsV1 tree; none when it is malformed.
    pub(crate) fn from_json(tree: Value) -> Option<Self> {
        let Value::Object(fields) = tree else {
            return None;
        };
        let mut children = BTreeMap::new();
        for (name, below) in fields.into_iter().filter(|(name, _)| name != ".") {
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
        FieldSet::from_json(tree).unwrap()
    }

    #[test]
    fn fields_v1_round_trips_with_members_keys_and_values() {
        let tree = json!({
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}, "f:finalizers": {".": {}, "v:\"x/y\"": {}}},
            "f:spec": {"f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}}},
        });
        assert_eq!(set(tree.clone()).into_json(), tree);
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
            assert!(FieldSet::from_json(bad.clone()).is_none(), "{bad}");
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

    #[test]
    fn a_set_meets_a_tree_only_in_members() {
        let tree = json!({"f:a": {"f:b": {}}, "f:c": {".": {}, "f:d": {}}});
        let meets = |path: &[&str]| FieldSet::of_fields(&[path]).meets(&tree);
        assert!(meets(&["a", "b"]) && meets(&["c"]) && meets(&["c", "d"]));
        assert!(!meets(&["a"]), "no member itself");
        assert!(!meets(&["a", "b", "x"]) && !meets(&["x"]));
    }
}
