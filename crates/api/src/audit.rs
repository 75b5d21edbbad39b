//! Audit policies (`audit.k8s.io/v1` Policy): how much is recorded of which request, and at which stages.
//!
//! Pure: reads a policy, says what is wrong with it, and decides. Not here: events and where they are written
//! (apiserver).

mod check;

use serde::Deserialize;
use serde_json::Value;

use crate::request_info::{RequestInfo, Resource, path_matches};

/// How much is recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Level {
    /// Nothing.
    #[default]
    None,
    /// Who, what, when and how it ended.
    Metadata,
    /// The body of the request as well.
    Request,
    /// The answer as well.
    RequestResponse,
}

/// When something is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Stage {
    /// Before anything is decided.
    RequestReceived,
    /// The answer begins; only of long-running requests.
    ResponseStarted,
    /// The answer has been made.
    ResponseComplete,
    /// Serving it failed in a way that it must not.
    Panic,
}

impl Level {
    /// As events spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Metadata => "Metadata",
            Self::Request => "Request",
            Self::RequestResponse => "RequestResponse",
        }
    }
}

impl Stage {
    /// As events spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RequestReceived => "RequestReceived",
            Self::ResponseStarted => "ResponseStarted",
            Self::ResponseComplete => "ResponseComplete",
            Self::Panic => "Panic",
        }
    }
}

/// A policy.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    kind: String,
    api_version: String,
    #[serde(default, rename = "metadata")]
    _metadata: Value,
    /// The first that matches a request decides.
    #[serde(default)]
    rules: Vec<Rule>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    #[serde(default)]
    omit_managed_fields: bool,
}

/// What is recorded of requests that match all that a rule names.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    level: Level,
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    user_groups: Vec<String>,
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    resources: Vec<GroupResources>,
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(default, rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    #[serde(default)]
    omit_managed_fields: Option<bool>,
}

/// Resources of one group.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GroupResources {
    #[serde(default)]
    group: String,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
}

/// What a policy says of one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Decision {
    /// How much is recorded.
    pub level: Level,
    omitted: [bool; 4],
    /// Recorded objects go without `metadata.managedFields`.
    pub omit_managed_fields: bool,
}

impl Decision {
    /// Whether something is recorded at a stage.
    pub fn records(&self, stage: Stage) -> bool {
        self.level > Level::None && !self.omitted[stage as usize]
    }
}

impl Policy {
    /// Reads a policy from its JSON tree; the error names what is wrong, on one line.
    pub fn read(tree: Value) -> Result<Self, String> {
        let policy: Self = serde_json::from_value(tree).map_err(|error| error.to_string())?;
        let errors = check::policy(&policy);
        if errors.is_empty() {
            return Ok(policy);
        }
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        Err(errors.join("; "))
    }

    /// What is recorded of a request.
    pub fn decide(&self, request: &RequestInfo<'_>) -> Decision {
        let rule = self.rules.iter().find(|rule| rule.matches(request));
        let of_rule = rule.map_or(&[] as &[Stage], |rule| &rule.omit_stages);
        let mut omitted = [false; 4];
        for stage in self.omit_stages.iter().chain(of_rule) {
            omitted[*stage as usize] = true;
        }
        Decision {
            level: rule.map_or(Level::None, |rule| rule.level),
            omitted,
            omit_managed_fields: rule
                .and_then(|rule| rule.omit_managed_fields)
                .unwrap_or(self.omit_managed_fields),
        }
    }
}

impl Rule {
    fn matches(&self, request: &RequestInfo<'_>) -> bool {
        let subject = request.subject;
        let is_user = |name: &String| subject.is_some_and(|subject| subject.name == name);
        let is_member = |group: &String| subject.is_some_and(|it| it.groups.contains(group));
        if !(self.users.is_empty() || self.users.iter().any(is_user))
            || !(self.user_groups.is_empty() || self.user_groups.iter().any(is_member))
            || !(self.verbs.is_empty() || self.verbs.iter().any(|verb| verb == request.verb))
        {
            return false;
        }
        if !self.resources.is_empty() || !self.namespaces.is_empty() {
            return request
                .resource
                .is_some_and(|resource| self.matches_resource(&resource));
        }
        if self.non_resource_urls.is_empty() {
            return true;
        }
        let mut urls = self.non_resource_urls.iter();
        request.resource.is_none() && urls.any(|url| path_matches(url, request.path))
    }

    fn matches_resource(&self, resource: &Resource<'_>) -> bool {
        let mut namespaces = self.namespaces.iter();
        if !self.namespaces.is_empty() && !namespaces.any(|known| known == resource.namespace) {
            return false;
        }
        self.resources.is_empty() || self.resources.iter().any(|group| group.matches(resource))
    }
}

impl GroupResources {
    fn matches(&self, resource: &Resource<'_>) -> bool {
        if self.group != resource.group {
            return false;
        }
        let mut names = self.resource_names.iter();
        let named = self.resource_names.is_empty() || names.any(|name| name == resource.name);
        self.resources.is_empty()
            || named
                && self
                    .resources
                    .iter()
                    .any(|known| resource_matches(known, resource))
    }
}

fn resource_matches(known: &str, resource: &Resource<'_>) -> bool {
    match known.split_once('/') {
        None => known == "*" || (resource.subresource.is_empty() && known == resource.resource),
        Some(("*", subresource)) => {
            !resource.subresource.is_empty() && subresource == resource.subresource
        }
        // `pods/*` holds for pods themselves, too, as upstream.
        Some((plural, "*")) => plural == resource.resource,
        Some((plural, subresource)) => {
            plural == resource.resource && subresource == resource.subresource
        }
    }
}

#[cfg(test)]
mod tests;
