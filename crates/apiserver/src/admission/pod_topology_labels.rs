//! `PodTopologyLabels`: a pod on a node shows the zone and the region of that node, so that what runs in it can read them
//! from its own labels.
//!
//! The scheduler's bindings come another way and get the same labels there (`kontiki-controller-manager`).

use futures::future::BoxFuture;
use kontiki_api::Subresource;
use kontiki_api::kinds::node::TOPOLOGY_LABELS;
use kontiki_api::meta::metadata_mut;
use kontiki_api::selector::Lookup as _;
use kontiki_base::status::Status;
use serde_json::{Value, json};

use super::{Effects, Operation, Plugin, Request};

pub(super) struct PodTopologyLabels;

impl Plugin for PodTopologyLabels {
    fn name(&self) -> &'static str {
        "PodTopologyLabels"
    }

    fn handles(&self, request: &Request<'_>) -> bool {
        let of = (
            &**request.target.kind.resource(),
            request.target.subresource,
        );
        let places = matches!(
            of,
            ("bindings", None) | ("pods", None | Some(Subresource::Binding))
        );
        places && request.operation == Operation::Create
    }

    fn mutate<'a>(
        &'a self,
        request: &'a Request<'a>,
        new: &'a mut Value,
        _: &'a mut Effects,
    ) -> BoxFuture<'a, Result<(), Status>> {
        if let Some(node) = node_of(new) {
            let snapshot = request.server.store().snapshot();
            // A node that is not there has nothing to show; whether that matters is not asked here.
            if let Some(node) = snapshot.find("nodes", "", node) {
                for key in TOPOLOGY_LABELS {
                    if let Some(value) = node.header.labels.lookup(key) {
                        let labels = metadata_mut(new).entry("labels");
                        labels.or_insert_with(|| json!({}))[key] = value.into();
                    }
                }
            }
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

/// The node of a Binding or of a pod that names it itself.
fn node_of(object: &Value) -> Option<&str> {
    let name = if object["kind"] == "Binding" {
        object
            .pointer("/target/name")
            .filter(|_| object["target"]["kind"] == "Node")
    } else {
        object.pointer("/spec/nodeName")
    };
    name.and_then(Value::as_str).filter(|name| !name.is_empty())
}
