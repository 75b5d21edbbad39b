//! ClusterRoles that gather the rules of others, by labels (upstream `clusterroleaggregation`).

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kontiki_api::selector::LabelSelector;
use kontiki_state::Object;

use crate::plan::{Plan, to_value};
use crate::view::{Found, View, resource_of};
use crate::{Controller, Error, Watch, WorkKey};

/// The controller.
pub struct ClusterRoleAggregation;

impl Controller for ClusterRoleAggregation {
    fn name(&self) -> &'static str {
        "clusterrole-aggregation-controller"
    }

    fn watches(&self) -> &'static [Watch] {
        &[Watch {
            resource: "clusterroles.rbac.authorization.k8s.io",
            map: gatherers,
        }]
    }

    fn reconcile(&self, view: &View<'_>, key: &WorkKey) -> Result<Plan, Error> {
        let mut plan = Plan::none();
        let Some(role) = view.get::<ClusterRole>("", &key.name)? else {
            return Ok(plan);
        };
        let Some(aggregation) = &role.aggregation_rule else {
            return Ok(plan);
        };
        let mut rules: Vec<PolicyRule> = Vec::new();
        for selector in aggregation.cluster_role_selectors.iter().flatten() {
            let selector = LabelSelector::from_object(selector)
                .map_err(|error| Error::Invalid(error.to_string()))?;
            for other in view.list::<ClusterRole>(None)? {
                if other.name() != role.name() && selector.matches(&other.object.header.labels) {
                    for rule in other.rules.iter().flatten() {
                        if !rules.contains(rule) {
                            rules.push(rule.clone());
                        }
                    }
                }
            }
        }
        if role.rules.as_deref().unwrap_or_default() != rules {
            plan.edit(&role.object, |value| value["rules"] = to_value(&rules));
        }
        Ok(plan)
    }
}

/// Any role may be gathered by any that gathers, and may gather itself.
fn gatherers(view: &View<'_>, _: &Object) -> Vec<WorkKey> {
    let roles = view
        .snapshot
        .list(&resource_of::<ClusterRole>(), None, None);
    let roles = roles.filter_map(|role| crate::typed::<ClusterRole>(role).ok());
    roles
        .filter(|role| role.aggregation_rule.is_some())
        .map(|role: Found<ClusterRole>| WorkKey::of(&role.object))
        .collect()
}
