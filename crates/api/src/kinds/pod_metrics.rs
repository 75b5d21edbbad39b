//! PodMetrics (upstream `k8s.io/metrics`): what a pod's containers use, looked up when it is read and never stored.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::{NamespaceResourceScope, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::kind::{BuiltIn, Kind};

/// What a pod uses.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "io.k8s.metrics.pkg.apis.metrics.v1beta1.PodMetrics")]
pub struct PodMetrics {
    /// The version of the kind.
    #[schemars(with = "String")]
    pub api_version: Option<String>,
    /// The kind.
    #[schemars(with = "String")]
    pub kind: Option<String>,
    /// The pod's name and labels.
    pub metadata: ObjectMeta,
    /// The end of the time that was looked at.
    #[schemars(with = "Time")]
    pub timestamp: Option<Time>,
    /// How long that was.
    pub window: String,
    /// Its running containers.
    pub containers: Vec<ContainerMetrics>,
}

/// What a container uses.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "io.k8s.metrics.pkg.apis.metrics.v1beta1.ContainerMetrics")]
pub struct ContainerMetrics {
    /// Its name.
    pub name: String,
    /// Processor and memory.
    pub usage: BTreeMap<String, Quantity>,
}

impl Resource for PodMetrics {
    const API_VERSION: &'static str = "metrics.k8s.io/v1beta1";
    const GROUP: &'static str = "metrics.k8s.io";
    const KIND: &'static str = "PodMetrics";
    const VERSION: &'static str = "v1beta1";
    const URL_PATH_SEGMENT: &'static str = "pods";
    type Scope = NamespaceResourceScope;
}

/// PodMetrics.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "podmetrics",
    observed: true,
    ..BuiltIn::of::<PodMetrics>()
});
