//! Which ConfigMaps and Secrets a pod names: what its node may see of them.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;

use kontiki_state::{Key, Object};
use serde_json::Value;

/// Keys of the ConfigMaps and Secrets that a pod names, found once for each revision of the pod.
pub(crate) struct References(pub(crate) BTreeSet<Key>);

impl References {
    pub(crate) fn of(pod: &Object) -> Arc<Self> {
        let find = |pod: &Object| Ok::<_, Infallible>(Self::find(pod));
        match pod.project(find) {
            Ok(references) => references,
            Err(never) => match never {},
        }
    }

    fn find(pod: &Object) -> Self {
        let value = pod.value();
        let mut found = Found {
            namespace: Arc::clone(&pod.key.namespace),
            keys: BTreeSet::new(),
        };
        found.spec(&value["spec"]);
        Self(found.keys)
    }
}

struct Found {
    namespace: Arc<str>,
    keys: BTreeSet<Key>,
}

impl Found {
    fn spec(&mut self, spec: &Value) {
        for secret in items(&spec["imagePullSecrets"]) {
            self.secret(&secret["name"]);
        }
        for volume in items(&spec["volumes"]) {
            self.config_map(&volume["configMap"]["name"]);
            self.secret(&volume["secret"]["secretName"]);
            for source in items(&volume["projected"]["sources"]) {
                self.config_map(&source["configMap"]["name"]);
                self.secret(&source["secret"]["name"]);
            }
        }
        for list in ["initContainers", "containers", "ephemeralContainers"] {
            items(&spec[list]).for_each(|container| self.container(container));
        }
    }

    fn container(&mut self, container: &Value) {
        for variable in items(&container["env"]) {
            let from = &variable["valueFrom"];
            self.config_map(&from["configMapKeyRef"]["name"]);
            self.secret(&from["secretKeyRef"]["name"]);
        }
        for from in items(&container["envFrom"]) {
            self.config_map(&from["configMapRef"]["name"]);
            self.secret(&from["secretRef"]["name"]);
        }
    }

    fn config_map(&mut self, name: &Value) {
        self.add("configmaps", name);
    }

    fn secret(&mut self, name: &Value) {
        self.add("secrets", name);
    }

    fn add(&mut self, resource: &str, name: &Value) {
        if let Some(name) = name.as_str().filter(|name| !name.is_empty()) {
            self.keys
                .insert(Key::new(resource, Arc::clone(&self.namespace), name));
        }
    }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kontiki_state::Header;
    use serde_json::json;

    use super::*;

    #[test]
    fn every_way_to_name_a_config_map_or_secret_is_found() {
        let pod = json!({"metadata": {}, "spec": {
            "imagePullSecrets": [{"name": "pull"}],
            "volumes": [
                {"configMap": {"name": "c1"}},
                {"secret": {"secretName": "s1"}},
                {"projected": {"sources": [{"configMap": {"name": "c2"}}, {"secret": {"name": "s2"}}]}},
                {"emptyDir": {}},
            ],
            "initContainers": [{"envFrom": [{"configMapRef": {"name": "c3"}}, {"secretRef": {"name": "s3"}}]}],
            "containers": [{"env": [
                {"valueFrom": {"configMapKeyRef": {"name": "c4", "key": "k"}}},
                {"valueFrom": {"secretKeyRef": {"name": "s4", "key": "k"}}},
                {"name": "PLAIN", "value": "v"},
            ]}],
        }});
        let bytes = Bytes::from(serde_json::to_vec(&pod).unwrap());
        let pod = Object::new(Key::new("pods", "web", "p"), 1, 1, Header::default(), bytes);
        let names: Vec<String> = References::of(&pod).0.iter().map(Key::to_string).collect();
        assert_eq!(
            names.join(" "),
            "configmaps/web/c1 configmaps/web/c2 configmaps/web/c3 \
            configmaps/web/c4 secrets/web/pull secrets/web/s1 secrets/web/s2 secrets/web/s3 secrets/web/s4"
        );
    }
}
