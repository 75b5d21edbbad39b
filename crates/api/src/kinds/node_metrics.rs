//! NodeMetrics (upstream `k8s.io/metrics`): what a node uses, looked up when it is read and never stored.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::{ClusterResourceScope, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

use crate::kind::{BuiltIn, Kind};

/// What a node uses.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "io.k8s.metrics.pkg.apis.metrics.v1beta1.NodeMetrics")]
pub struct NodeMetrics {
    /// The version of the kind.
    #[schemars(with = "String")]
    pub api_version: Option<String>,
    /// The kind.
    #[schemars(with = "String")]
    pub kind: Option<String>,
    /// The node's name and labels.
    pub metadata: ObjectMeta,
    /// The end of the time that was looked at.
    #[schemars(with = "Time")]
    pub timestamp: Option<Time>,
    /// How long that was.
    pub window: String,
    /// Processor and memory.
    pub usage: BTreeMap<String, Quantity>,
}

impl Resource for NodeMetrics {
    const API_VERSION: &'static str = "metrics.k8s.io/v1beta1";
    const GROUP: &'static str = "metrics.k8s.io";
    const KIND: &'static str = "NodeMetrics";
    const VERSION: &'static str = "v1beta1";
    const URL_PATH_SEGMENT: &'static str = "nodes";
    type Scope = ClusterResourceScope;
}

/// NodeMetrics.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    namespaced: false,
    singular: "nodemetrics",
    observed: true,
    ..BuiltIn::of::<NodeMetrics>()
});

/// Use of a processor in nanocores and of memory in bytes, as upstream writes it.
pub fn usage(cpu_nano_cores: u64, memory_bytes: u64) -> Value {
    json!({
        "cpu": format!("{cpu_nano_cores}n"),
        "memory": format!("{}Ki", memory_bytes / 1024),
    })
}
