//! Which FlowSchema a request belongs to (upstream `pkg/util/flowcontrol`): the first that matches, by precedence and
//! then by name.

use k8s_openapi::api::flowcontrol::v1::{
    FlowSchemaSpec, NonResourcePolicyRule, PolicyRulesWithSubjects, ResourcePolicyRule, Subject,
};

use crate::request_info::{self, RequestInfo, path_matches};

/// Everything, wherever a rule lists something.
const ALL: &str = "*";
const ACCOUNTS: &str = "system:serviceaccount:";

/// What tells the flows of one schema apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distinguisher {
    /// Nothing: one flow.
    Nothing,
    /// Each user's requests are a flow.
    User,
    /// Each namespace's requests are a flow.
    Namespace,
}

/// A schema, ready to be asked.
#[derive(Debug, Clone)]
pub struct Schema {
    /// Name.
    pub name: String,
    /// Uid of the object.
    pub uid: String,
    /// Name of its priority level.
    pub level: String,
    /// What tells its flows apart.
    pub distinguisher: Distinguisher,
    precedence: i32,
    rules: Vec<PolicyRulesWithSubjects>,
}

impl Schema {
    /// From a schema's name, uid and spec.
    pub fn new(name: &str, uid: &str, spec: FlowSchemaSpec) -> Self {
        let distinguisher = match spec.distinguisher_method {
            Some(method) if method.type_ == "ByUser" => Distinguisher::User,
            Some(method) if method.type_ == "ByNamespace" => Distinguisher::Namespace,
            _ => Distinguisher::Nothing,
        };
        Self {
            name: name.to_owned(),
            uid: uid.to_owned(),
            level: spec.priority_level_configuration.name,
            distinguisher,
            precedence: spec.matching_precedence.unwrap_or(1000),
            rules: spec.rules.unwrap_or_default(),
        }
    }

    /// Whether a request belongs to it.
    pub fn matches(&self, request: &RequestInfo<'_>) -> bool {
        self.rules.iter().any(|rule| {
            let mut subjects = rule.subjects.iter();
            covers(rule, request) && subjects.any(|subject| is_subject(subject, request))
        })
    }

    /// The flow of the schema that a request belongs to.
    pub fn flow<'a>(&self, request: &RequestInfo<'a>) -> &'a str {
        match self.distinguisher {
            Distinguisher::Nothing => "",
            Distinguisher::User => request.subject.map_or("", |subject| subject.name),
            Distinguisher::Namespace => request.resource.map_or("", |it| it.namespace),
        }
    }
}

/// Puts schemas in the order in which they are asked.
pub fn sort(schemas: &mut [Schema]) {
    schemas.sort_by(|one, other| {
        let order = one.precedence.cmp(&other.precedence);
        order.then_with(|| one.name.cmp(&other.name))
    });
}

fn is_subject(subject: &Subject, request: &RequestInfo<'_>) -> bool {
    let Some(user) = request.subject else {
        return false;
    };
    match subject.kind.as_str() {
        "User" => {
            let wanted = subject.user.as_ref();
            wanted.is_some_and(|wanted| wanted.name == ALL || wanted.name == user.name)
        }
        "Group" => subject
            .group
            .as_ref()
            .is_some_and(|wanted| wanted.name == ALL || user.groups.contains(&wanted.name)),
        "ServiceAccount" => subject.service_account.as_ref().is_some_and(|wanted| {
            let account = user.name.strip_prefix(ACCOUNTS);
            let account = account.and_then(|account| account.split_once(':'));
            account.is_some_and(|(namespace, name)| {
                namespace == wanted.namespace && (wanted.name == ALL || name == wanted.name)
            })
        }),
        _ => false,
    }
}

fn covers(rule: &PolicyRulesWithSubjects, request: &RequestInfo<'_>) -> bool {
    match &request.resource {
        Some(resource) => {
            let mut rules = rule.resource_rules.iter().flatten();
            rules.any(|rule| covers_resource(rule, request.verb, resource))
        }
        None => {
            let mut rules = rule.non_resource_rules.iter().flatten();
            rules.any(|rule| covers_path(rule, request))
        }
    }
}

fn covers_resource(
    rule: &ResourcePolicyRule,
    verb: &str,
    resource: &request_info::Resource<'_>,
) -> bool {
    let is_in_place = if resource.namespace.is_empty() {
        rule.cluster_scope == Some(true)
    } else {
        has(
            rule.namespaces.as_deref().unwrap_or_default(),
            resource.namespace,
        )
    };
    is_in_place
        && has(&rule.verbs, verb)
        && has(&rule.api_groups, resource.group)
        && rule.resources.iter().any(|known| names(known, resource))
}

/// Whether a rule's resource is this one, subresource included.
fn names(known: &str, resource: &request_info::Resource<'_>) -> bool {
    if known == ALL {
        return true;
    }
    let (plural, subresource) = known.split_once('/').unwrap_or((known, ""));
    plural == resource.resource && subresource == resource.subresource
}

fn covers_path(rule: &NonResourcePolicyRule, request: &RequestInfo<'_>) -> bool {
    let mut urls = rule.non_resource_urls.iter();
    has(&rule.verbs, request.verb) && urls.any(|url| path_matches(url, request.path))
}

fn has(values: &[String], value: &str) -> bool {
    values.iter().any(|known| known == ALL || known == value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flowcontrol::flow_schemas;
    use crate::request_info::Resource;

    fn bootstrap() -> Vec<Schema> {
        let schemas = flow_schemas().into_iter();
        let mut schemas: Vec<Schema> = schemas
            .map(|(name, spec)| Schema::new(name, "", serde_json::from_value(spec).unwrap()))
            .collect();
        sort(&mut schemas);
        schemas
    }

    #[test]
    fn the_systems_own_traffic_is_told_from_the_rest() {
        let schemas = bootstrap();
        let node = ("system:node:n1", "system:nodes");
        let manager = ("system:kube-controller-manager", "");
        let account = (
            "system:serviceaccount:kube-system:job-controller",
            "system:serviceaccounts",
        );
        let pod = (
            "system:serviceaccount:default:app",
            "system:serviceaccounts",
        );
        let ann = ("ann", "dev");
        // (user and group, verb, resource/subresource or path, namespace, schema, level)
        for (user, verb, what, namespace, schema, level) in [
            (
                ("root", "system:masters"),
                "list",
                "pods",
                "",
                "exempt",
                "exempt",
            ),
            (
                node,
                "update",
                "nodes/status",
                "",
                "system-node-high",
                "node-high",
            ),
            (
                node,
                "update",
                "leases",
                "kube-node-lease",
                "system-node-high",
                "node-high",
            ),
            (node, "get", "secrets", "default", "system-nodes", "system"),
            (
                manager,
                "update",
                "leases",
                "kube-system",
                "system-leader-election",
                "leader-election",
            ),
            (
                manager,
                "list",
                "pods",
                "",
                "kube-controller-manager",
                "workload-high",
            ),
            (
                account,
                "update",
                "leases",
                "kube-system",
                "system-leader-election",
                "leader-election",
            ),
            (
                account,
                "list",
                "jobs",
                "",
                "kube-system-service-accounts",
                "workload-high",
            ),
            (
                pod,
                "update",
                "leases",
                "default",
                "service-accounts",
                "workload-low",
            ),
            (
                pod,
                "list",
                "pods",
                "default",
                "service-accounts",
                "workload-low",
            ),
            (ann, "list", "pods", "", "global-default", "global-default"),
            (ann, "get", "/healthz", "", "probes", "exempt"),
            (
                ann,
                "get",
                "/metrics",
                "",
                "global-default",
                "global-default",
            ),
        ] {
            let groups = [user.1.to_owned(), "system:authenticated".to_owned()];
            let group = match what.split('/').next() {
                Some("leases") => "coordination.k8s.io",
                Some("jobs") => "batch",
                _ => "",
            };
            let (resource, subresource) = what.split_once('/').unwrap_or((what, ""));
            let request = RequestInfo {
                subject: Some(request_info::Subject {
                    name: user.0,
                    groups: &groups,
                }),
                verb,
                path: what,
                resource: (!resource.is_empty()).then_some(Resource {
                    group,
                    resource,
                    subresource,
                    namespace,
                    ..Resource::default()
                }),
            };
            let found = schemas
                .iter()
                .find(|schema| schema.matches(&request))
                .unwrap();
            assert_eq!(
                (&*found.name, &*found.level),
                (schema, level),
                "{user:?} {verb} {what}"
            );
        }
    }

    #[test]
    fn flows_are_told_apart_as_the_schema_says() {
        let request = RequestInfo {
            subject: Some(request_info::Subject {
                name: "ann",
                groups: &[],
            }),
            resource: Some(Resource {
                namespace: "a",
                ..Resource::default()
            }),
            ..RequestInfo::default()
        };
        let flow = |method: serde_json::Value| {
            let spec = serde_json::json!({"priorityLevelConfiguration": {"name": "x"}, "distinguisherMethod": method});
            Schema::new("x", "", serde_json::from_value(spec).unwrap())
                .flow(&request)
                .to_owned()
        };
        assert_eq!(flow(serde_json::json!({"type": "ByUser"})), "ann");
        assert_eq!(flow(serde_json::json!({"type": "ByNamespace"})), "a");
        assert_eq!(flow(serde_json::Value::Null), "");
    }
}
