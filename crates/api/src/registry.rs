//! The kinds that are served at one moment: the built-in ones, and those that users defined.
//!
//! A value of this type never changes: whoever answers a request takes one and answers by it to the end. Who follows a
//! store brings its definitions (`with`); those that are known already are not read again.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::custom::{Family, kinds_of, versions};
use crate::kind::Kind;
use crate::kinds::{self, KINDS};

/// The kinds of one moment. Cheap to clone.
#[derive(Clone, Default)]
pub struct Kinds(Arc<Custom>);

/// The kinds that users defined.
#[derive(Default)]
struct Custom {
    /// In the order of discovery.
    served: Vec<Kind>,
    /// The stored kind of each resource, served or not.
    by_resource: HashMap<Arc<str>, Kind>,
    /// By the definition's name: the revision that was read, and what came of it.
    families: HashMap<Box<str>, (u64, Arc<Family>)>,
}

impl fmt::Debug for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0.served).finish()
    }
}

impl Kinds {
    /// The built-in kinds alone.
    pub fn built_in() -> Self {
        Self::default()
    }

    /// The kinds by these definitions: (name, revision, how to read it). The same when they are the same.
    pub fn with<'a, R: FnOnce() -> Option<Value>>(
        &self,
        definitions: impl IntoIterator<Item = (&'a str, u64, R)>,
    ) -> Self {
        let (mut families, mut is_other) = (HashMap::new(), false);
        for (name, revision, read) in definitions {
            let known = self.0.families.get(name);
            let family = match known.filter(|(known, _)| *known == revision) {
                Some((_, family)) => Arc::clone(family),
                None => {
                    is_other = true;
                    let family = read().map(|object| kinds_of(&object, revision));
                    Arc::new(family.unwrap_or_default())
                }
            };
            families.insert(name.into(), (revision, family));
        }
        if !is_other && families.len() == self.0.families.len() {
            return self.clone();
        }
        Self(Arc::new(Custom::of(families)))
    }

    /// All kinds in all served versions, in the order of discovery: `KINDS`, then the groups of users, the preferred
    /// version of a group first.
    pub fn iter(&self) -> impl Iterator<Item = &Kind> {
        KINDS.iter().copied().chain(&self.0.served)
    }

    /// The kinds in the versions that are stored: each resource of the store once.
    pub fn stored(&self) -> impl Iterator<Item = &Kind> {
        let built_in = KINDS.iter().copied().filter(|kind| kind.is_stored());
        built_in.chain(self.0.by_resource.values())
    }

    /// The stored kind of a resource id such as `pods` or `deployments.apps`.
    pub fn by_resource(&self, id: &str) -> Option<&Kind> {
        kinds::by_resource(id).or_else(|| self.0.by_resource.get(id))
    }

    /// The kind that a URL names.
    pub fn by_path(&self, group: &str, version: &str, plural: &str) -> Option<&Kind> {
        kinds::by_path(group, version, plural).or_else(|| {
            self.0.served.iter().find(|kind| {
                kind.plural() == plural && kind.group() == group && kind.version() == version
            })
        })
    }

    /// The kind of `apiVersion` and `kind`.
    pub fn by_gvk(&self, api_version: &str, kind: &str) -> Option<&Kind> {
        kinds::by_gvk(api_version, kind).or_else(|| {
            let mut served = self.0.served.iter();
            served.find(|known| known.kind() == kind && known.api_version() == api_version)
        })
    }

    /// Whether anything of a group is served.
    pub fn has_group(&self, group: &str) -> bool {
        self.iter().any(|kind| kind.group() == group)
    }

    /// Whether anything of a group version is served.
    pub fn has_version(&self, group: &str, version: &str) -> bool {
        self.iter()
            .any(|kind| kind.group() == group && kind.version() == version)
    }

    /// Whether both are of the same moment, without a look at the kinds.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Custom {
    fn of(families: HashMap<Box<str>, (u64, Arc<Family>)>) -> Self {
        let all = || families.values().map(|(_, family)| family);
        let mut served: Vec<Kind> = all().flat_map(|family| family.served.clone()).collect();
        served.sort_by(|a, b| {
            (a.group().cmp(b.group()))
                .then_with(|| versions::compare(b.version(), a.version()))
                .then_with(|| a.plural().cmp(b.plural()))
        });
        let stored = all().filter_map(|family| family.stored.clone());
        let by_resource = stored.map(|kind| (Arc::clone(kind.resource()), kind));
        Self {
            by_resource: by_resource.collect(),
            served,
            families,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn definition(name: &str, versions: &[&str]) -> Value {
        let versions = versions.iter().enumerate().map(|(idx, version)| {
            json!({"name": version, "served": true, "storage": idx == 0,
                "schema": {"openAPIV3Schema": {"type": "object"}}})
        });
        let (plural, group) = name.split_once('.').unwrap();
        let names = json!({"plural": plural, "kind": plural, "listKind": format!("{plural}List")});
        json!({"metadata": {"name": name, "uid": "u"},
            "spec": {"group": group, "scope": "Namespaced", "names": names,
                "versions": versions.collect::<Vec<_>>()},
            "status": {"acceptedNames": names,
                "conditions": [{"type": "Established", "status": "True"}]}})
    }

    #[test]
    fn kinds_come_and_go_with_their_definitions() {
        let (a, b) = (
            definition("as.x.example.com", &["v1", "v2"]),
            definition("bs.x.example.com", &["v1beta1"]),
        );
        let read = |value: &Value| {
            let value = value.clone();
            move || Some(value)
        };
        let none = Kinds::built_in();
        let both = none.with([
            ("as.x.example.com", 3, read(&a)),
            ("bs.x.example.com", 4, read(&b)),
        ]);
        let custom = both.iter().filter(|kind| kind.definition().is_some());
        let custom: Vec<String> = custom
            .map(|kind| format!("{}/{}", kind.api_version(), kind.plural()))
            .collect();
        assert_eq!(
            custom,
            [
                "x.example.com/v2/as",
                "x.example.com/v1/as",
                "x.example.com/v1beta1/bs"
            ]
        );
        let v2 = both.by_path("x.example.com", "v2", "as").unwrap();
        assert!(!v2.is_stored() && v2.stored().version() == "v1");
        assert_eq!(
            both.by_resource("as.x.example.com").unwrap().version(),
            "v1"
        );

        let unread = || -> Option<Value> { panic!("known already") };
        let same = both.with([
            ("as.x.example.com", 3, unread),
            ("bs.x.example.com", 4, unread),
        ]);
        assert!(same.is_same(&both));
        let one = both.with([("as.x.example.com", 3, unread)]);
        assert!(!one.is_same(&both) && one.by_resource("bs.x.example.com").is_none());
        let before = both.by_path("x.example.com", "v1", "as").unwrap();
        assert!(
            one.by_path("x.example.com", "v1", "as")
                .unwrap()
                .is_same(before)
        );
    }
}
