//! The list of all controllers.

use crate::Controller;

/// All controllers; the manager runs each.
pub static CONTROLLERS: &[&dyn Controller] = &[
    &crate::namespace::Bootstrap,
    &crate::namespace::NamespaceController,
    &crate::priority_classes::PriorityClasses,
    &crate::flow_control::FlowControl,
    &crate::rbac_defaults::RbacDefaults,
    &crate::cluster_role_aggregation::ClusterRoleAggregation,
    &crate::service_account::ServiceAccountController,
    &crate::service_account_tokens::ServiceAccountTokens,
    &crate::root_ca::RootCa,
    &crate::admission_policy_status::AdmissionPolicyStatus,
    &crate::extension_authentication::ExtensionAuthentication,
    &crate::api_services::ApiServices,
    &crate::certificates::Certificates,
    &crate::kubernetes_service::KubernetesService,
    &crate::node_ipam::NodeIpam,
    &crate::node_lifecycle::NodeLifecycle,
    &crate::taint_eviction::TaintEviction,
    &crate::deployment::DeploymentController,
    &crate::replica_set::ReplicaSetController,
    &crate::job::JobController,
    &crate::job_ttl::JobTtl,
    &crate::cron_job::CronJobController,
    &crate::resource_quota::ResourceQuotaController,
    &crate::endpoint_slice::EndpointSliceController,
    &crate::endpoints::EndpointsController,
    &crate::disruption::DisruptionController,
    &crate::disruption::StaleTargets,
    &crate::pod_gc::PodGc,
    &crate::garbage_collector::GarbageCollector,
    &crate::event_ttl::EventTtl,
    &crate::custom_resource_definitions::Names,
    &crate::custom_resource_definitions::Cleanup,
];
