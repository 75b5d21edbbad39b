//! NodeRestriction (upstream `plugin/pkg/admission/noderestriction`): a node writes about itself and its pods, and
//! nothing that draws other work, rights or owners to it.

use std::collections::BTreeSet;

use kontiki_api::meta::Meta;
use kontiki_base::status::Status;
use serde_json::Value;

use super::content::Operation;
use super::forbidden_because;
use super::node::{MIRROR, Named, node_of};
use crate::options::{Context, Target};
use crate::server::ApiServer;

const LEASES: &str = "kube-node-lease";
/// Labels of Kubernetes' own that a node may set on itself.
const LABELS: &[&str] = &[
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
];
/// Prefixes of labels that are a node's own.
const LABEL_DOMAINS: &[&str] = &["kubelet.kubernetes.io", "node.kubernetes.io"];
/// Prefix of labels that only administrators set.
const RESTRICTED: &str = "node-restriction.kubernetes.io";

/// A node's write.
struct Restricted<'a> {
    server: &'a ApiServer,
    target: &'a Target,
    node: &'a str,
    operation: Operation<'a>,
}

/// Refuses what a node may not write; everybody else passes.
pub(super) fn check(
    server: &ApiServer,
    context: &Context,
    target: &Target,
    operation: Operation<'_>,
) -> Result<(), Status> {
    let Some(node) = node_of(&context.user) else {
        return Ok(());
    };
    let this = Restricted {
        server,
        target,
        node,
        operation,
    };
    let subresource = target
        .subresource
        .map_or("", kontiki_api::Subresource::name);
    match (target.kind.group(), target.kind.plural(), subresource) {
        ("", "pods", "") => this.pod(),
        ("", "pods", "status") => this.pod_status(),
        ("", "pods", "eviction") => this.eviction(),
        ("", "pods", other) => this.refuse(format!(
            "unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed"
        )),
        ("", "nodes", _) => this.node(),
        ("", "persistentvolumeclaims", "status") => this.claim_status(),
        ("", "persistentvolumeclaims", _) => this.refuse("may only update PVC status"),
        ("", "serviceaccounts", "token") => this.token(),
        ("coordination.k8s.io", "leases", _) => this.lease(),
        ("storage.k8s.io", "csinodes", _) => {
            this.own_name("can only access CSINode with the same name as the requesting node")
        }
        _ => Ok(()),
    }
}

impl Restricted<'_> {
    fn refuse(&self, why: impl AsRef<str>) -> Result<(), Status> {
        Err(forbidden_because(self.target, why.as_ref()))
    }

    /// The name that the write is about; a create's stands in the object.
    fn name(&self) -> &str {
        match self.operation {
            Operation::Create(new) if self.target.name.is_empty() => Meta::of(new).name(),
            _ => &self.target.name,
        }
    }

    fn own_name(&self, why: &str) -> Result<(), Status> {
        if self.name() == self.node {
            return Ok(());
        }
        self.refuse(why)
    }

    fn lease(&self) -> Result<(), Status> {
        if self.target.namespace != LEASES {
            return self.refuse(format!(
                "can only access leases in the {LEASES:?} system namespace"
            ));
        }
        self.own_name("can only access node lease with the same name as the requesting node")
    }

    fn pod(&self) -> Result<(), Status> {
        let node = self.node;
        match self.operation {
            Operation::Create(pod) => self.mirror_pod(pod),
            Operation::Delete(pod) if is_on(pod, node) => Ok(()),
            Operation::Delete(_) => self.refuse(format!(
                "node {node:?} can only delete pods with spec.nodeName set to itself"
            )),
            Operation::Update(..) => self.refuse(format!(
                "unexpected operation \"UPDATE\", node {node:?} can only create and delete mirror pods"
            )),
        }
    }

    /// The image of a pod that the node runs by itself; it may name nothing that the node could not read otherwise.
    fn mirror_pod(&self, pod: &Value) -> Result<(), Status> {
        let node = self.node;
        if Meta::of(pod).annotation(MIRROR).is_none() {
            return self.refuse(format!(
                "pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"
            ));
        }
        if !is_on(pod, node) {
            return self.refuse(format!(
                "node {node:?} can only create pods with spec.nodeName set to itself"
            ));
        }
        self.owned_by_node(pod)?;
        let named = Named::find(pod);
        for (resource, what) in [
            ("serviceaccounts", "a service account"),
            ("secrets", "secrets"),
            ("configmaps", "configmaps"),
            ("persistentvolumeclaims", "persistentvolumeclaims"),
        ] {
            if named.names(resource).next().is_some() {
                let why = format!("node {node:?} can not create pods that reference {what}");
                return self.refuse(why);
            }
        }
        let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
        let mut sources = volumes.flat_map(|volume| {
            let sources = volume["projected"]["sources"].as_array();
            sources.into_iter().flatten()
        });
        if sources.any(|source| source["clusterTrustBundle"].is_object()) {
            return self.refuse(format!(
                "node {node:?} can not create pods that reference clustertrustbundles"
            ));
        }
        Ok(())
    }

    fn owned_by_node(&self, pod: &Value) -> Result<(), Status> {
        let node = self.node;
        let owner = match Meta::of(pod).owners() {
            [owner] => owner,
            [] => {
                return self.refuse(format!(
                    "node {node:?} can only create pods with an owner reference set to itself"
                ));
            }
            _ => {
                return self.refuse(format!(
                    "node {node:?} can only create pods with a single owner reference set to itself"
                ));
            }
        };
        let is = |field: &str, value: &str| owner[field] == *value;
        if !(is("apiVersion", "v1") && is("kind", "Node") && is("name", node)) {
            return self.refuse(format!(
                "node {node:?} can only create pods with an owner reference set to itself"
            ));
        }
        if owner["controller"] != true {
            return self.refuse(format!(
                "node {node:?} can only create pods with a controller owner reference set to itself"
            ));
        }
        if owner["blockOwnerDeletion"] == true {
            return self.refuse(format!(
                "node {node:?} must not set blockOwnerDeletion on an owner reference"
            ));
        }
        let snapshot = self.server.store().snapshot();
        let stored = snapshot
            .find("nodes", "", node)
            .ok_or_else(|| Status::not_found("", "nodes", node))?;
        let uid = owner["uid"].as_str().unwrap_or_default();
        if *stored.header.uid == *uid {
            return Ok(());
        }
        self.refuse(format!(
            "node {node} UID mismatch: expected {uid} got {}",
            stored.header.uid
        ))
    }

    fn pod_status(&self) -> Result<(), Status> {
        let node = self.node;
        let Operation::Update(old, new) = self.operation else {
            return self.refuse("unexpected operation");
        };
        if !is_on(old, node) {
            return self.refuse(format!(
                "node {node:?} can only update pod status for pods with spec.nodeName set to itself"
            ));
        }
        if labels(old) != labels(new) {
            return self.refuse(format!(
                "node {node:?} cannot update labels through pod status"
            ));
        }
        let claims = |pod: &Value| pod["status"]["resourceClaimStatuses"].clone();
        if claims(old) != claims(new) {
            return self.refuse(format!(
                "node {node:?} cannot update resource claim statues"
            ));
        }
        Ok(())
    }

    fn eviction(&self) -> Result<(), Status> {
        let snapshot = self.server.store().snapshot();
        let Target {
            namespace, name, ..
        } = self.target;
        let pod = snapshot
            .find("pods", namespace, name)
            .ok_or_else(|| Status::not_found("", "pods", name))?;
        if is_on(&pod.value(), self.node) {
            return Ok(());
        }
        self.refuse(format!(
            "node {} can only evict pods with spec.nodeName set to itself",
            self.node
        ))
    }

    fn node(&self) -> Result<(), Status> {
        let node = self.node;
        let name = self.name();
        if name != node {
            return self.refuse(format!(
                "node {node:?} is not allowed to modify node {name:?}"
            ));
        }
        match self.operation {
            Operation::Create(new) => self.new_node(new),
            Operation::Update(old, new) => self.changed_node(old, new),
            Operation::Delete(_) => Ok(()),
        }
    }

    fn new_node(&self, new: &Value) -> Result<(), Status> {
        let node = self.node;
        if !Meta::of(new).owners().is_empty() {
            return self.refuse(format!(
                "node {node:?} is not allowed to set ownerReferences"
            ));
        }
        if !new["spec"]["configSource"].is_null() {
            return self.refuse(format!(
                "node {node:?} is not allowed to create pods with a non-nil configSource"
            ));
        }
        let set = labels(new).into_iter().map(|(key, _)| key);
        match forbidden_labels(set.collect()).as_slice() {
            [] => Ok(()),
            labels => self.refuse(format!(
                "node {node:?} is not allowed to set the following labels: {}",
                labels.join(", ")
            )),
        }
    }

    fn changed_node(&self, old: &Value, new: &Value) -> Result<(), Status> {
        let node = self.node;
        let taints = |value: &Value| {
            value["spec"]["taints"]
                .as_array()
                .cloned()
                .unwrap_or_default()
        };
        if taints(old) != taints(new) {
            return self.refuse(format!("node {node:?} is not allowed to modify taints"));
        }
        if Meta::of(old).owners() != Meta::of(new).owners() {
            return self.refuse(format!(
                "node {node:?} is not allowed to modify ownerReferences"
            ));
        }
        // What a node reads follows from what objects name: it must not name what it wants to read.
        let source = |value: &Value| value["spec"]["configSource"].clone();
        if !source(new).is_null() && source(old) != source(new) {
            return self.refuse(format!(
                "node {node:?} is not allowed to update configSource to a new non-nil configSource"
            ));
        }
        let (old, new) = (labels(old), labels(new));
        let changed = old.symmetric_difference(&new).map(|(key, _)| *key);
        match forbidden_labels(changed.collect()).as_slice() {
            [] => Ok(()),
            labels => self.refuse(format!(
                "is not allowed to modify labels: {}",
                labels.join(", ")
            )),
        }
    }

    fn claim_status(&self) -> Result<(), Status> {
        let Operation::Update(old, new) = self.operation else {
            return self.refuse("unexpected operation");
        };
        let bare = |claim: &Value| {
            let mut claim = claim.clone();
            for (part, fields) in [
                ("metadata", &["resourceVersion", "managedFields"][..]),
                (
                    "status",
                    &[
                        "capacity",
                        "conditions",
                        "allocatedResourceStatuses",
                        "allocatedResources",
                    ],
                ),
            ] {
                if let Some(part) = claim.get_mut(part).and_then(Value::as_object_mut) {
                    fields.iter().for_each(|field| drop(part.remove(*field)));
                }
            }
            claim
        };
        if bare(old) == bare(new) {
            return Ok(());
        }
        self.refuse(format!(
            "node {:?} is not allowed to update fields other than status.capacity and status.conditions",
            self.node
        ))
    }

    /// A token of a pod on this node, and of that very pod.
    fn token(&self) -> Result<(), Status> {
        let Operation::Create(request) = self.operation else {
            return Ok(());
        };
        let bound = &request["spec"]["boundObjectRef"];
        let text = |field: &str| bound[field].as_str().unwrap_or_default();
        let (name, uid) = (text("name"), text("uid"));
        if text("apiVersion") != "v1" || text("kind") != "Pod" || name.is_empty() {
            return self.refuse("node requested token not bound to a pod");
        }
        if uid.is_empty() {
            return self.refuse("node requested token with a pod binding without a uid");
        }
        let snapshot = self.server.store().snapshot();
        let pod = snapshot
            .find("pods", &self.target.namespace, name)
            .ok_or_else(|| Status::not_found("", "pods", name))?;
        if *pod.header.uid != *uid {
            return self.refuse(format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. The object might \
                 have been deleted and then recreated"
            ));
        }
        if is_on(&pod.value(), self.node) {
            return Ok(());
        }
        self.refuse("node requested token bound to a pod scheduled on a different node")
    }
}

fn is_on(pod: &Value, node: &str) -> bool {
    pod["spec"]["nodeName"] == *node
}

fn labels(object: &Value) -> BTreeSet<(&str, &str)> {
    Meta::of(object).labels().collect()
}

fn forbidden_labels(keys: BTreeSet<&str>) -> Vec<&str> {
    keys.into_iter().filter(|key| !may_set(key)).collect()
}

/// Whether a node may set a label on itself.
fn may_set(key: &str) -> bool {
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    let is_in = |root: &str| {
        domain
            .strip_suffix(root)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let is_ours = is_in("kubernetes.io") || is_in("k8s.io");
    !is_in(RESTRICTED)
        && (!is_ours || LABELS.contains(&key) || LABEL_DOMAINS.iter().any(|root| is_in(root)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_the_system_are_not_a_nodes_to_set() {
        for (key, may) in [
            ("mine", true),
            ("example.com/mine", true),
            ("kubernetes.io/hostname", true),
            ("node.kubernetes.io/instance-type", true),
            ("a.kubelet.kubernetes.io/x", true),
            ("kubernetes.io/other", false),
            ("node-role.kubernetes.io/control-plane", false),
            ("k8s.io/x", false),
            ("notkubernetes.io/x", true),
            ("node-restriction.kubernetes.io/x", false),
            ("example.com.node-restriction.kubernetes.io/x", false),
        ] {
            assert_eq!(may_set(key), may, "{key}");
        }
    }
}
