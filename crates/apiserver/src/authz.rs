//! Who may do what: superusers everything, nodes what their pods need (`node`), everybody what roles grant (`rbac`).
//!
//! A decision reads the local store. A grant that another replica just committed may be unknown here for as long as this
//! replica lags: a request is refused only after a second look, behind a read barrier, which all waiting readers share.
//! What of an object one may write is `content`'s to say.

pub(crate) mod content;
mod escalation;
mod index;
pub(crate) mod node;
mod node_restriction;
pub(crate) mod rbac;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kontiki_api::rbac::Ask;
use kontiki_api::selector::FieldSelector;
use kontiki_base::status::{Details, Reason, Status, qualified};
use tokio::time::timeout;

use crate::audit::About;
use crate::options::{Context, Target, User};
use crate::server::ApiServer;
use index::Grant;

pub(crate) use index::Policies;

/// Members may do everything, whatever roles there are.
pub(crate) const MASTERS: &str = "system:masters";
/// Who has shown no credentials.
const STRANGERS: &str = "system:unauthenticated";
/// Longest wait before a refusal: without a quorum the local answer stands.
const SECOND_LOOK: Duration = Duration::from_secs(2);
/// Keys of the audit log.
const DECISION: &str = "authorization.k8s.io/decision";
const REASON: &str = "authorization.k8s.io/reason";

/// A question to the authorizers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attributes<'a> {
    /// Who.
    pub(crate) user: &'a User,
    /// Where; empty for the cluster.
    pub(crate) namespace: &'a str,
    /// What.
    pub(crate) ask: Ask<'a>,
    /// The value that a list or watch selects `spec.nodeName` by.
    pub(crate) node_name: Option<&'a str>,
}

/// The answer of the authorizers; who has no opinion leaves the question to the next, and nobody's is a no.
#[derive(Debug, Clone)]
pub(crate) enum Decision {
    /// Yes.
    Allow(Why),
    /// No, with what there is to say about it.
    NoOpinion(String),
}

/// What allowed a request: spelled out for reviews only.
#[derive(Debug, Clone)]
pub(crate) enum Why {
    /// A superuser, or a node on business of its own.
    Nothing,
    /// A binding, and the index of the subject in it.
    Grant(Arc<Grant>, usize),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => Ok(()),
            Self::Grant(grant, subject) => {
                write!(f, "RBAC: allowed by {}", grant.describe(*subject))
            }
        }
    }
}

impl Decision {
    /// Whether it is a yes.
    pub(crate) fn is_allowed(&self) -> bool {
        matches!(self, Self::Allow(_))
    }
}

impl User {
    /// Whether the user is in a group.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|other| other == group)
    }
}

impl<'a> Attributes<'a> {
    /// A verb on a target.
    pub(crate) fn new(user: &'a User, verb: &'a str, target: &'a Target) -> Self {
        // As in upstream's URLs, a namespace lies in itself: roles in it may say who reads it.
        let is_namespace = target.kind.group().is_empty() && target.kind.plural() == "namespaces";
        Self {
            user,
            namespace: if is_namespace {
                &target.name
            } else {
                &target.namespace
            },
            ask: Ask {
                verb,
                group: target.kind.group(),
                resource: target.kind.plural(),
                subresource: target
                    .subresource
                    .map_or("", kontiki_api::Subresource::name),
                name: &target.name,
                path: None,
            },
            node_name: None,
        }
    }
}

impl ApiServer {
    /// Refuses what the user may not do, in upstream's words.
    pub(crate) async fn authorize(
        &self,
        context: &Context,
        verb: &str,
        target: &Target,
    ) -> Result<(), Status> {
        self.require(
            context,
            &Attributes::new(&context.user, verb, target),
            Some(target),
        )
        .await
    }

    /// The same of a verb on a collection: a selector of one name makes it a request for that object, as upstream.
    pub(crate) async fn authorize_selection(
        &self,
        context: &Context,
        verb: &str,
        target: &Target,
        field_selector: Option<&str>,
    ) -> Result<(), Status> {
        let selector = FieldSelector::parse(field_selector.unwrap_or_default()).ok();
        let required = |field| selector.as_ref().and_then(|it| it.requires(field));
        let mut attributes = Attributes::new(&context.user, verb, target);
        attributes.node_name = required("spec.nodeName");
        if attributes.ask.name.is_empty()
            && let Some(name) = required("metadata.name")
            && kontiki_api::meta::names::path_segment(name, false).is_empty()
        {
            attributes.ask.name = name;
        }
        self.require(context, &attributes, Some(target)).await
    }

    /// Refuses a path that is no resource's unless the user may use it; `verb` is the HTTP method in lower case.
    pub async fn authorize_path(
        &self,
        context: &Context,
        verb: &str,
        path: &str,
    ) -> Result<(), Status> {
        let attributes = Attributes {
            user: &context.user,
            namespace: "",
            ask: Ask {
                verb,
                path: Some(path),
                ..Ask::default()
            },
            node_name: None,
        };
        self.require(context, &attributes, None).await
    }

    /// Decides and notes the decision for the audit log.
    pub(crate) async fn require(
        &self,
        context: &Context,
        attributes: &Attributes<'_>,
        target: Option<&Target>,
    ) -> Result<(), Status> {
        context.audit.about(|| About {
            verb: attributes.ask.verb.to_owned(),
            target: target.cloned(),
        });
        let note = |decision: &str, reason: &dyn fmt::Display| {
            context.audit.annotate(DECISION, || decision.to_owned());
            context.audit.annotate(REASON, || reason.to_string());
        };
        let mut decision = self.decide(attributes);
        if !decision.is_allowed() && self.is_up_to_date(&context.user).await {
            decision = self.decide(attributes);
        }
        match decision {
            Decision::Allow(why) => {
                note("allow", &why);
                Ok(())
            }
            Decision::NoOpinion(reason) => {
                note("forbid", &reason);
                Err(forbidden(attributes, &reason))
            }
        }
    }

    /// Waits until this replica knows all that was acknowledged before; false when it can't. Strangers are not waited for.
    pub(crate) async fn is_up_to_date(&self, user: &User) -> bool {
        if user.is_in(STRANGERS) {
            return false;
        }
        let barrier = self.backend().read_barrier();
        matches!(timeout(SECOND_LOOK, barrier).await, Ok(Ok(())))
    }

    /// The same of a part of a request, which has no record of its own.
    pub(crate) fn require_part(&self, attributes: &Attributes<'_>) -> Result<(), Status> {
        match self.decide(attributes) {
            Decision::Allow(_) => Ok(()),
            Decision::NoOpinion(reason) => Err(forbidden(attributes, &reason)),
        }
    }

    /// Asks the authorizers in turn.
    pub(crate) fn decide(&self, attributes: &Attributes<'_>) -> Decision {
        if attributes.user.is_in(MASTERS) {
            return Decision::Allow(Why::Nothing);
        }
        let node = match node::node_of(attributes.user) {
            None => String::new(),
            Some(node) => match node::decide(&self.store().snapshot(), node, attributes) {
                Decision::NoOpinion(reason) => reason,
                allowed => return allowed,
            },
        };
        let policies = self.0.policies.current(self.store());
        match rbac::decide(&policies, attributes) {
            Decision::NoOpinion(rbac) => {
                let reasons = [node, rbac].into_iter().filter(|text| !text.is_empty());
                Decision::NoOpinion(reasons.collect::<Vec<_>>().join("\n"))
            }
            allowed => allowed,
        }
    }
}

fn forbidden(attributes: &Attributes<'_>, reason: &str) -> Status {
    let Ask {
        verb,
        group,
        resource,
        subresource,
        name,
        path,
    } = attributes.ask;
    let user = kontiki_api::field_error::go_quote(&attributes.user.name);
    let mut why = match path {
        Some(path) => format!("User {user} cannot {verb} path {path:?}"),
        None => {
            let resource = if subresource.is_empty() {
                resource.to_owned()
            } else {
                format!("{resource}/{subresource}")
            };
            let place = if attributes.namespace.is_empty() {
                "at the cluster scope".to_owned()
            } else {
                format!("in the namespace {:?}", attributes.namespace)
            };
            format!(
                "User {user} cannot {verb} resource {resource:?} in API group {group:?} {place}"
            )
        }
    };
    if !reason.is_empty() {
        why = format!("{why}: {reason}");
    }
    forbidden_resource(group, resource, name, &why)
}

/// 403 with a reason of its own.
pub(crate) fn forbidden_because(target: &Target, why: &str) -> Status {
    forbidden_resource(target.kind.group(), target.kind.plural(), &target.name, why)
}

fn forbidden_resource(group: &str, plural: &str, name: &str, why: &str) -> Status {
    let message = match (plural, name) {
        ("", _) => format!("forbidden: {why}"),
        (_, "") => format!("{} is forbidden: {why}", qualified(group, plural)),
        _ => format!("{} {name:?} is forbidden: {why}", qualified(group, plural)),
    };
    Status::new(Reason::Forbidden, message).with_details(Details {
        name: name.to_owned(),
        group: group.into(),
        kind: plural.into(),
        ..Details::default()
    })
}
