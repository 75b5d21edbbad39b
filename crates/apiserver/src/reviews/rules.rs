//! SelfSubjectRulesReview: all that I may do in a namespace, for menus and completion; never for a decision.

use kontiki_api::rbac::ALL;
use kontiki_base::status::Status;
use serde_json::{Value, json};

use crate::authz::node::node_of;
use crate::authz::{MASTERS, rbac};
use crate::options::Context;
use crate::server::ApiServer;

impl ApiServer {
    pub(super) fn self_rules_review(
        &self,
        context: &Context,
        object: &Value,
    ) -> Result<Value, Status> {
        let namespace = object["spec"]["namespace"].as_str().unwrap_or_default();
        if namespace.is_empty() {
            return Err(Status::bad_request("no namespace on request"));
        }
        let user = &context.user;
        let policies = self.0.policies.current(self.store());
        let (rules, mut errors) = rbac::rules_for(&policies, user, namespace);
        let (mut resources, mut paths) = (Vec::new(), Vec::new());
        if user.is_in(MASTERS) {
            resources.push(json!({"verbs": [ALL], "apiGroups": [ALL], "resources": [ALL]}));
            paths.push(json!({"verbs": [ALL], "nonResourceURLs": [ALL]}));
        }
        for rule in &rules {
            if rule.resources.as_ref().is_some_and(|list| !list.is_empty()) {
                resources.push(json!({
                    "verbs": rule.verbs,
                    "apiGroups": rule.api_groups,
                    "resources": rule.resources,
                    "resourceNames": rule.resource_names,
                }));
            }
            if rule
                .non_resource_urls
                .as_ref()
                .is_some_and(|list| !list.is_empty())
            {
                paths.push(json!({"verbs": rule.verbs, "nonResourceURLs": rule.non_resource_urls}));
            }
        }
        let is_node = node_of(user).is_some();
        if is_node {
            errors.push("node authorizer does not support user rule resolution".to_owned());
        }
        for rule in &mut resources {
            if let Some(rule) = rule.as_object_mut() {
                rule.retain(|_, value| !value.is_null());
            }
        }
        let mut status = json!({
            "resourceRules": resources,
            "nonResourceRules": paths,
            "incomplete": is_node || !errors.is_empty(),
        });
        if !errors.is_empty() {
            status["evaluationError"] = rbac::aggregated(&errors).into();
        }
        Ok(status)
    }
}
