//! The node authorizer: a node reads what the pods bound to it name, and writes what reports about them.
//!
//! Upstream keeps a graph; here the pods of a node come from the store's index and are looked through on request, with
//! what each names found once per revision. What of an object a node may write is decided by
//! `node_restriction`.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;

use kontiki_api::meta::Meta;
use kontiki_api::rbac::Ask;
use kontiki_state::{Object, Snapshot};
use serde_json::Value;

use super::{Attributes, Decision, Why};
use crate::options::User;

/// Group of nodes.
pub(crate) const NODES: &str = "system:nodes";
const PREFIX: &str = "system:node:";
const LEASES: &str = "kube-node-lease";
/// Marks the image of a pod that the node runs by itself.
pub(crate) const MIRROR: &str = "kubernetes.io/config.mirror";

const ALLOW: Decision = Decision::Allow(Why::Nothing);

/// What nodes may do to kinds that are not looked at object by object: group, resource, verbs.
const RULES: &[(&str, &str, &[&str])] = &[
    ("", "services", READ),
    ("", "events", &["create", "patch", "update"]),
    ("events.k8s.io", "events", &["create", "patch", "update"]),
    ("", "endpoints", &["get"]),
    ("authentication.k8s.io", "tokenreviews", &["create"]),
    ("authorization.k8s.io", "subjectaccessreviews", &["create"]),
    (
        "authorization.k8s.io",
        "localsubjectaccessreviews",
        &["create"],
    ),
    (
        "certificates.k8s.io",
        "certificatesigningrequests",
        &["create", "get", "list", "watch"],
    ),
    ("storage.k8s.io", "csidrivers", READ),
    ("node.k8s.io", "runtimeclasses", READ),
];
const READ: &[&str] = &["get", "list", "watch"];

/// The node that a user is; none for everybody else.
pub(crate) fn node_of(user: &User) -> Option<&str> {
    let name = user.name.strip_prefix(PREFIX)?;
    user.is_in(NODES).then_some(name)
}

pub(super) fn decide(snapshot: &Snapshot, node: &str, attributes: &Attributes<'_>) -> Decision {
    if node.is_empty() {
        return no(format!("unknown node for user {:?}", attributes.user.name));
    }
    let asked = Asked {
        snapshot,
        node,
        namespace: attributes.namespace,
        ask: attributes.ask,
    };
    let Ask {
        group,
        resource,
        subresource,
        path,
        ..
    } = attributes.ask;
    if path.is_some() {
        return no("");
    }
    match (group, resource) {
        ("", "secrets" | "configmaps") => asked.read_named(),
        ("", "persistentvolumeclaims") if subresource == "status" => asked.update_status(),
        ("", "persistentvolumeclaims" | "persistentvolumes") => asked.get(),
        ("storage.k8s.io", "volumeattachments") => asked.get(),
        ("", "serviceaccounts") => asked.service_account(),
        ("coordination.k8s.io", "leases") => asked.lease(),
        ("storage.k8s.io", "csinodes") => asked.csi_node(),
        ("", "nodes") => asked.itself(),
        ("", "pods") => asked.pod(attributes.node_name),
        _ => asked.by_rule(),
    }
}

fn no(why: impl Into<String>) -> Decision {
    Decision::NoOpinion(why.into())
}

/// A request of a node.
struct Asked<'a> {
    snapshot: &'a Snapshot,
    node: &'a str,
    namespace: &'a str,
    ask: Ask<'a>,
}

impl Asked<'_> {
    fn by_rule(&self) -> Decision {
        let Ask {
            verb,
            group,
            resource,
            subresource,
            ..
        } = self.ask;
        let allows = |rule: &&(&str, &str, &[&str])| {
            (rule.0, rule.1) == (group, resource)
                && subresource.is_empty()
                && rule.2.contains(&verb)
        };
        if RULES.iter().any(|rule| allows(&rule)) {
            ALLOW
        } else {
            no("")
        }
    }

    fn read_named(&self) -> Decision {
        if !READ.contains(&self.ask.verb) {
            no("can only read resources of this type")
        } else if !self.ask.subresource.is_empty() {
            no("cannot read subresource")
        } else if self.namespace.is_empty() {
            no("can only read namespaced object of this type")
        } else {
            self.related()
        }
    }

    fn get(&self) -> Decision {
        if self.ask.verb != "get" {
            no("can only get individual resources of this type")
        } else if !self.ask.subresource.is_empty() {
            no("cannot get subresource")
        } else {
            self.related()
        }
    }

    fn update_status(&self) -> Decision {
        if !matches!(self.ask.verb, "update" | "patch") {
            return no("can only get/update/patch this type");
        }
        self.related()
    }

    fn service_account(&self) -> Decision {
        match (self.ask.verb, self.ask.subresource) {
            ("get", "") => self.related(),
            ("create", _) if self.ask.name.is_empty() => {
                no("can only create tokens for individual service accounts")
            }
            ("create", "token") => self.related(),
            ("create", _) => no("can only create token subresource of serviceaccount"),
            _ => no("can only create tokens for individual service accounts"),
        }
    }

    /// A create is let through to admission, which knows the name.
    fn lease(&self) -> Decision {
        let verbs = ["get", "create", "update", "patch", "delete"];
        if !verbs.contains(&self.ask.verb) {
            no("can only get, create, update, patch, or delete a node lease")
        } else if self.namespace != LEASES {
            no(format!(
                "can only access leases in the {LEASES:?} system namespace"
            ))
        } else if self.ask.verb != "create" && self.ask.name != self.node {
            no("can only access node lease with the same name as the requesting node")
        } else {
            ALLOW
        }
    }

    fn csi_node(&self) -> Decision {
        let verbs = ["get", "create", "update", "patch", "delete"];
        if !verbs.contains(&self.ask.verb) {
            no("can only get, create, update, patch, or delete a CSINode")
        } else if !self.ask.subresource.is_empty() {
            no("cannot authorize CSINode subresources")
        } else if self.ask.verb != "create" && self.ask.name != self.node {
            no("can only access CSINode with the same name as the requesting node")
        } else {
            ALLOW
        }
    }

    fn itself(&self) -> Decision {
        let (node, name) = (self.node, self.ask.name);
        match (self.ask.subresource, self.ask.verb) {
            ("", "create" | "update" | "patch") | ("status", "update" | "patch") => ALLOW,
            ("", "get" | "list" | "watch") if name == node => ALLOW,
            ("", "get" | "list" | "watch") if name.is_empty() => no(format!(
                "node '{node}' cannot read all nodes, only its own Node object"
            )),
            ("", "get" | "list" | "watch") => no(format!(
                "node '{node}' cannot read '{name}', only its own Node object"
            )),
            _ => no(""),
        }
    }

    fn pod(&self, selected_node: Option<&str>) -> Decision {
        match (self.ask.subresource, self.ask.verb) {
            ("", "get") => self.related(),
            ("", "list" | "watch") if selected_node == Some(self.node) => ALLOW,
            ("", "list" | "watch") if !self.ask.name.is_empty() => self.related(),
            ("", "list" | "watch") => {
                no("can only list/watch pods with spec.nodeName field selector")
            }
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => {
                ALLOW
            }
            _ => no(""),
        }
    }

    /// Whether the object has to do with a pod of the node.
    fn related(&self) -> Decision {
        let Ask { resource, name, .. } = self.ask;
        if name.is_empty() {
            return no("No Object name found");
        }
        let is_related = match resource {
            "pods" => self
                .pods()
                .any(|pod| self.is_here(&pod) && *pod.key.name == *name),
            "persistentvolumes" => self.mounts_volume(name),
            "volumeattachments" => self.attaches(name),
            _ => {
                self.pods()
                    .any(|pod| self.is_here(&pod) && Named::of(&pod).has(resource, name))
                    || (resource == "secrets" && self.volume_secret(name))
            }
        };
        if is_related {
            return ALLOW;
        }
        no(format!(
            "no relationship found between node '{}' and this object",
            self.node
        ))
    }

    fn pods(&self) -> impl Iterator<Item = Arc<Object>> {
        self.snapshot
            .by_field("pods", "spec.nodeName", self.node)
            .into_iter()
    }

    fn is_here(&self, pod: &Object) -> bool {
        *pod.key.namespace == *self.namespace
    }

    /// Volumes that claims of the node's pods are bound to.
    fn volumes(&self) -> impl Iterator<Item = Value> {
        let claims = self.pods().flat_map(|pod| {
            let named = Named::of(&pod);
            let claims: Vec<String> = named
                .names("persistentvolumeclaims")
                .map(str::to_owned)
                .collect();
            claims
                .into_iter()
                .map(move |claim| (Arc::clone(&pod.key.namespace), claim))
        });
        claims.filter_map(|(namespace, claim)| {
            let claim = self
                .snapshot
                .find("persistentvolumeclaims", &namespace, &claim)?
                .value();
            let volume = claim["spec"]["volumeName"].as_str()?;
            let volume = self.snapshot.find("persistentvolumes", "", volume)?.value();
            // A volume that is bound elsewhere tells nothing to this claim's node.
            let bound = &volume["spec"]["claimRef"];
            let is_bound =
                bound["name"] == claim["metadata"]["name"] && bound["namespace"] == *namespace;
            is_bound.then_some(volume)
        })
    }

    fn mounts_volume(&self, name: &str) -> bool {
        self.volumes()
            .any(|volume| Meta::of(&volume).name() == name)
    }

    /// Secrets that the volume driver needs on the node.
    fn volume_secret(&self, name: &str) -> bool {
        let refers = |reference: &Value| {
            reference["name"] == *name && reference["namespace"] == *self.namespace
        };
        let fields = [
            "nodePublishSecretRef",
            "nodeStageSecretRef",
            "nodeExpandSecretRef",
            "controllerPublishSecretRef",
        ];
        self.volumes().any(|volume| {
            let driver = &volume["spec"]["csi"];
            fields.iter().any(|field| refers(&driver[*field]))
        })
    }

    fn attaches(&self, name: &str) -> bool {
        let attachment = self
            .snapshot
            .find("volumeattachments.storage.k8s.io", "", name);
        attachment.is_some_and(|found| found.value()["spec"]["nodeName"] == *self.node)
    }
}

/// What a pod names in its namespace: (resource, name). Nothing for a mirror pod, which a node makes itself.
pub(crate) struct Named(BTreeSet<(&'static str, String)>);

impl Named {
    /// Found once for each revision of the pod.
    pub(crate) fn of(pod: &Object) -> Arc<Self> {
        let find = |pod: &Object| {
            let value = pod.value();
            let is_mirror = Meta::of(&value).annotation(MIRROR).is_some();
            let mut named = Self::find(&value);
            if is_mirror {
                named.0.clear();
            } else if named.names("serviceaccounts").next().is_none() {
                named.0.insert(("serviceaccounts", "default".to_owned()));
            }
            Ok::<_, Infallible>(named)
        };
        match pod.project(find) {
            Ok(named) => named,
            Err(never) => match never {},
        }
    }

    /// Of a pod that is not stored yet.
    pub(crate) fn find(pod: &Value) -> Self {
        let mut named = Self(BTreeSet::new());
        let spec = &pod["spec"];
        named.add("serviceaccounts", &spec["serviceAccountName"]);
        for secret in items(&spec["imagePullSecrets"]) {
            named.add("secrets", &secret["name"]);
        }
        items(&spec["volumes"]).for_each(|volume| named.volume(volume, pod));
        for list in ["initContainers", "containers", "ephemeralContainers"] {
            items(&spec[list]).for_each(|container| named.container(container));
        }
        named
    }

    fn volume(&mut self, volume: &Value, pod: &Value) {
        self.add("configmaps", &volume["configMap"]["name"]);
        self.add("secrets", &volume["secret"]["secretName"]);
        self.add(
            "persistentvolumeclaims",
            &volume["persistentVolumeClaim"]["claimName"],
        );
        for source in items(&volume["projected"]["sources"]) {
            self.add("configmaps", &source["configMap"]["name"]);
            self.add("secrets", &source["secret"]["name"]);
        }
        // Drivers of old name their secrets in the volume.
        for driver in [
            "cephfs",
            "rbd",
            "flexVolume",
            "iscsi",
            "scaleIO",
            "storageos",
        ] {
            self.add("secrets", &volume[driver]["secretRef"]["name"]);
        }
        self.add("secrets", &volume["csi"]["nodePublishSecretRef"]["name"]);
        self.add("secrets", &volume["azureFile"]["secretName"]);
        if volume["ephemeral"].is_object() {
            let claim = format!(
                "{}-{}",
                Meta::of(pod).name(),
                volume["name"].as_str().unwrap_or_default()
            );
            self.0.insert(("persistentvolumeclaims", claim));
        }
    }

    fn container(&mut self, container: &Value) {
        for variable in items(&container["env"]) {
            let from = &variable["valueFrom"];
            self.add("configmaps", &from["configMapKeyRef"]["name"]);
            self.add("secrets", &from["secretKeyRef"]["name"]);
        }
        for from in items(&container["envFrom"]) {
            self.add("configmaps", &from["configMapRef"]["name"]);
            self.add("secrets", &from["secretRef"]["name"]);
        }
    }

    fn add(&mut self, resource: &'static str, name: &Value) {
        if let Some(name) = name.as_str().filter(|name| !name.is_empty()) {
            self.0.insert((resource, name.to_owned()));
        }
    }

    fn has(&self, resource: &str, name: &str) -> bool {
        self.names(resource).any(|known| known == name)
    }

    /// The names of one resource.
    pub(crate) fn names(&self, resource: &str) -> impl Iterator<Item = &str> {
        let of_resource = self.0.iter().filter(move |(known, _)| *known == resource);
        of_resource.map(|(_, name)| name.as_str())
    }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}
