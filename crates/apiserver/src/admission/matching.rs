//! Whether a webhook or an admission policy is about a request: rules, selectors, equal resources in other versions.

use kontiki_api::selector::{LabelSelector, Lookup};
use kontiki_api::{Kind, Subresource};
use kontiki_base::status::Status;
use serde::Deserialize;
use serde_json::Value;

use super::{Operation, Request};

/// Kinds that no webhook or policy may hold back: who locked himself out could not undo it.
const EXEMPT: &[&str] = &[
    "mutatingwebhookconfigurations",
    "validatingwebhookconfigurations",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
];

/// A rule: operations on resources.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Rule {
    operations: Option<Vec<String>>,
    api_groups: Option<Vec<String>>,
    api_versions: Option<Vec<String>>,
    resources: Option<Vec<String>>,
    scope: Option<String>,
    resource_names: Option<Vec<String>>,
}

/// What is matched by rules.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    group: &'a str,
    version: &'a str,
    resource: &'a str,
    subresource: &'a str,
    namespace: &'a str,
    name: &'a str,
}

fn names(list: Option<&Vec<String>>, wanted: &str) -> bool {
    let mut entries = list.into_iter().flatten();
    entries.any(|entry| entry == "*" || entry == wanted)
}

impl Rule {
    fn matches(&self, operation: Operation, place: &Place<'_>) -> bool {
        names(self.operations.as_ref(), operation.name())
            && names(self.api_groups.as_ref(), place.group)
            && names(self.api_versions.as_ref(), place.version)
            && self.is_in_scope(place)
            && self.has_resource(place)
            && self.has_name(place.name)
    }

    /// Namespaces count as objects of the cluster.
    fn is_in_scope(&self, place: &Place<'_>) -> bool {
        let is_namespace = place.group.is_empty() && place.resource == "namespaces";
        let is_clusters = is_namespace || place.namespace.is_empty();
        match self.scope.as_deref() {
            Some("Namespaced") => !is_clusters,
            Some("Cluster") => is_clusters,
            _ => true,
        }
    }

    fn has_resource(&self, place: &Place<'_>) -> bool {
        let mut resources = self.resources.iter().flatten();
        resources.any(|entry| {
            let (resource, subresource) = entry.split_once('/').unwrap_or((entry, ""));
            let one_of = |wanted: &str, found: &str| wanted == "*" || wanted == found;
            one_of(resource, place.resource) && one_of(subresource, place.subresource)
        })
    }

    fn has_name(&self, name: &str) -> bool {
        let names = self.resource_names.as_deref().unwrap_or_default();
        names.is_empty() || names.iter().any(|known| known == name)
    }
}

/// All that a configuration says about which requests it is about.
#[derive(Debug)]
pub(super) struct Criteria {
    rules: Vec<Rule>,
    excluded: Vec<Rule>,
    namespaces: LabelSelector,
    objects: LabelSelector,
    is_equivalent: bool,
    /// No rules mean any request, as in a binding.
    matches_without_rules: bool,
}

impl Criteria {
    /// Of a webhook.
    pub(super) fn of_webhook(webhook: &Value) -> Self {
        Self::new(webhook, "rules", false)
    }

    /// Of a policy's `matchConstraints` or a binding's `matchResources`.
    pub(super) fn of_policy(constraints: &Value, matches_without_rules: bool) -> Self {
        Self::new(constraints, "resourceRules", matches_without_rules)
    }

    fn new(from: &Value, rules: &str, matches_without_rules: bool) -> Self {
        let list = |field: &str| Vec::<Rule>::deserialize(&from[field]).unwrap_or_default();
        let selector = |field: &str| match &from[field] {
            Value::Null => LabelSelector::everything(),
            // Validation lets no other through.
            found => LabelSelector::from_value(found).unwrap_or_else(|_| LabelSelector::nothing()),
        };
        Self {
            rules: list(rules),
            excluded: list("excludeResourceRules"),
            namespaces: selector("namespaceSelector"),
            objects: selector("objectSelector"),
            is_equivalent: from["matchPolicy"] != "Exact",
            matches_without_rules,
        }
    }

    /// The version in which the request is to be judged, if it is to be.
    pub(super) fn matched(
        &self,
        request: &Request<'_>,
        new: Option<&Value>,
    ) -> Result<Option<Kind>, Status> {
        if self.ruled(&self.excluded, request, new).is_some() {
            return Ok(None);
        }
        let ruled = if self.rules.is_empty() && self.matches_without_rules {
            Some(request.target.kind.clone())
        } else {
            self.ruled(&self.rules, request, new)
        };
        let Some(kind) = ruled else { return Ok(None) };
        let is_selected = self.selects_namespace(request, new)? && self.selects(request, new);
        Ok(is_selected.then_some(kind))
    }

    fn ruled(&self, rules: &[Rule], request: &Request<'_>, new: Option<&Value>) -> Option<Kind> {
        let target = request.target;
        let matches = |kind: &Kind| {
            let place = Place {
                group: kind.group(),
                version: kind.version(),
                resource: kind.plural(),
                subresource: target.subresource.map_or("", Subresource::name),
                namespace: namespace_of(request, new),
                name: name_of(request, new),
            };
            let mut rules = rules.iter();
            rules.any(|rule| rule.matches(request.operation, &place))
        };
        if matches(&target.kind) {
            return Some(target.kind.clone());
        }
        if !self.is_equivalent {
            return None;
        }
        let served = request.server.kinds();
        let mut others = served
            .iter()
            .filter(|kind| **kind != target.kind && kind.resource() == target.kind.resource());
        others.find(|kind| matches(kind)).cloned()
    }

    /// Objects of the cluster are in no namespace that could be selected; a namespace is chosen by its own labels.
    fn selects_namespace(
        &self,
        request: &Request<'_>,
        new: Option<&Value>,
    ) -> Result<bool, Status> {
        if self.namespaces.is_everything() {
            return Ok(true);
        }
        let kind = &request.target.kind;
        if kind.group().is_empty() && kind.plural() == "namespaces" {
            let object = if request.target.subresource.is_none() {
                new.or(request.old)
            } else {
                request.old
            };
            return Ok(object.is_some_and(|object| self.namespaces.matches(labels(object))));
        }
        if !kind.namespaced() {
            return Ok(true);
        }
        let namespace = &request.target.namespace;
        let snapshot = request.server.store().snapshot();
        match snapshot.find("namespaces", "", namespace) {
            Some(found) => Ok(self.namespaces.matches(&found.header.labels)),
            None => Err(Status::not_found("", "namespaces", namespace)),
        }
    }

    /// Either state of the object may be what is selected.
    fn selects(&self, request: &Request<'_>, new: Option<&Value>) -> bool {
        let mut states = [new, request.old].into_iter().flatten();
        self.objects.is_everything() || states.any(|object| self.objects.matches(labels(object)))
    }
}

fn labels(object: &Value) -> &Value {
    &object["metadata"]["labels"]
}

/// Whether webhooks and policies look at such a request at all.
pub(super) fn is_exempt(request: &Request<'_>) -> bool {
    let kind = &request.target.kind;
    kind.group() == "admissionregistration.k8s.io" && EXEMPT.contains(&kind.plural())
}

/// The name, which a create's URL does not tell.
pub(super) fn name_of<'a>(request: &'a Request<'_>, new: Option<&'a Value>) -> &'a str {
    let name = request.target.name.as_str();
    if name.is_empty() {
        new.and_then(|new| new["metadata"].lookup("name"))
            .unwrap_or_default()
    } else {
        name
    }
}

/// The namespace; a namespace lies in itself.
pub(super) fn namespace_of<'a>(request: &'a Request<'_>, new: Option<&'a Value>) -> &'a str {
    let kind = &request.target.kind;
    if kind.group().is_empty() && kind.plural() == "namespaces" {
        name_of(request, new)
    } else {
        &request.target.namespace
    }
}
