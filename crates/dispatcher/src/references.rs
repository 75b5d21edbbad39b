//! Which ConfigMaps, Secrets and claims a pod names: what its node may see of them.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kontiki_api::volumes::claims_of;
use kontiki_state::{Key, Object};
use serde_json::Value;

/// Resource id of claims.
pub(crate) const CLAIMS: &str = "persistentvolumeclaims";

/// Keys of the ConfigMaps, Secrets and claims that a pod names, found once for each revision of the pod.
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
        if let Ok(pod) = pod.typed::<Pod>() {
            for name in claims_of(&pod) {
                found.add(CLAIMS, &Value::String(name));
            }
        }
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
        let pod = json!({"metadata": {"name": "p"}, "spec": {
            "imagePullSecrets": [{"name": "pull"}],
            "volumes": [
                {"name": "a", "configMap": {"name": "c1"}},
                {"name": "b", "secret": {"secretName": "s1"}},
                {"name": "c", "projected": {"sources": [{"configMap": {"name": "c2"}}, {"secret": {"name": "s2"}}]}},
                {"emptyDir": {}, "name": "e"},
                {"persistentVolumeClaim": {"claimName": "v1"}, "name": "v"},
                {"ephemeral": {"volumeClaimTemplate": {"spec": {}}}, "name": "v2"},
            ],
            "initContainers": [{"name": "i", "envFrom": [{"configMapRef": {"name": "c3"}}, {"secretRef": {"name": "s3"}}]}],
            "containers": [{"name": "m", "env": [
                {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c4", "key": "k"}}},
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s4", "key": "k"}}},
                {"name": "PLAIN", "value": "v"},
            ]}],
        }});
        let bytes = Bytes::from(serde_json::to_vec(&pod).unwrap());
        let pod = Object::new(Key::new("pods", "web", "p"), 1, 1, Header::default(), bytes);
        let names: Vec<String> = References::of(&pod).0.iter().map(Key::to_string).collect();
        assert_eq!(
            names.join(" "),
            "configmaps/web/c1 configmaps/web/c2 configmaps/web/c3 \
            configmaps/web/c4 persistentvolumeclaims/web/p-v2 persistentvolumeclaims/web/v1 \
            secrets/web/pull secrets/web/s1 secrets/web/s2 secrets/web/s3 secrets/web/s4"
        );
    }
}
