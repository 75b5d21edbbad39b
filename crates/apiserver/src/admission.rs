//! Admission: the chain of plugins that every write goes through, of clients and of controllers alike.
//!
//! ```text
//! decode ▸ default ▸ track ▸ MUTATE, plugin by plugin ▸ strategy (`prepare_*`) ▸ validate ▸ VALIDATE, plugin by plugin ▸ propose
//! ```
//!
//! A plugin is one file in `admission/` and one line in `PLUGINS`. It may change the object, refuse the request, warn,
//! note something for the audit log, and add operations to the write's own transaction (a quota's usage). Authorization
//! stands before; rules of a kind itself belong to the kind (`kontiki-api`).

use std::sync::Arc;

use futures::future::BoxFuture;
use kontiki_api::meta::Meta;
use kontiki_base::status::Status;
use kontiki_state::Op;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::authz::forbidden_because;
use crate::options::{Context, DeleteOptions, Target, WriteOptions};
use crate::server::ApiServer;

mod certificates;
mod claim_resize;
mod controllers;
mod expressions;
mod external_ips;
mod kind_hooks;
mod limit_ranger;
mod matching;
mod pod_security;
mod pod_topology_labels;
mod policies;
pub(crate) mod resource_quota;
mod review;
mod service_account;
mod webhooks;

pub use controllers::ControllerWrite;

/// All plugins, in the order of upstream's `AllOrderedPlugins`; `kind_hooks` stands for those that a kind carries itself.
static PLUGINS: &[&dyn Plugin] = &[
    &limit_ranger::LimitRanger,
    &service_account::ServiceAccount,
    &pod_security::PodSecurity,
    &claim_resize::ClaimResize,
    &certificates::Approval,
    &certificates::Signing,
    &external_ips::DenyServiceExternalIps,
    &pod_topology_labels::PodTopologyLabels,
    &webhooks::Mutating,
    &policies::Policies,
    &webhooks::Validating,
    &resource_quota::ResourceQuotas,
];

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A new object, or a POST to a subresource that acts.
    Create,
    /// A change of an object or of a part of it, whatever the verb.
    Update,
    /// A deletion. There is no new object.
    Delete,
    /// A stream into a pod, a node or a service.
    Connect,
}

impl Operation {
    /// As rules and reviews spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// A request on its way.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) server: &'a ApiServer,
    /// Who asks.
    pub(crate) context: &'a Context,
    /// What about. The name is empty while a create generates it.
    pub(crate) target: &'a Target,
    pub(crate) operation: Operation,
    /// The object as it is stored; none for a create.
    pub(crate) old: Option<&'a Value>,
    /// Nothing will be written, hence nothing may have an effect elsewhere.
    pub(crate) dry_run: bool,
    /// What the client sent as options, for reviews; none of controllers and streams.
    pub(crate) options: Option<Sent<'a>>,
}

/// The options of a request, whatever its verb. A patch's are those of what it does: of a create or of an update.
#[derive(Clone, Copy)]
pub(crate) enum Sent<'a> {
    Write(&'a WriteOptions),
    Delete(&'a DeleteOptions),
}

impl<'a> From<&'a WriteOptions> for Sent<'a> {
    fn from(options: &'a WriteOptions) -> Self {
        Self::Write(options)
    }
}

/// What plugins bring about besides a changed object.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// For the client's eyes.
    pub(crate) warnings: Vec<String>,
    /// Further operations of the write's transaction. Several writes of one controller's plan share them: a plugin looks
    /// for its own earlier operation on an object and goes on from there.
    pub(crate) ops: Vec<Op>,
    /// For the audit log: `plugin/key` and value.
    pub(crate) annotations: Vec<(String, String)>,
    /// Whether the write can wait for others that count against the same quotas.
    pub(crate) waits: bool,
    /// Its turn among those, until it is committed.
    pub(crate) turn: Option<resource_quota::Turn>,
    /// Whether the mutating phase begins again.
    reinvocation: webhooks::Reinvocation,
}

impl Effects {
    /// Of a request, which commits by itself: `ops` are those of earlier writes of its batch.
    pub(crate) fn of_request(request: &Request<'_>) -> Self {
        Self {
            ops: request.server.0.charged.clone(),
            waits: !request.dry_run,
            ..Self::default()
        }
    }
}

/// One step of admission.
pub(crate) trait Plugin: Sync {
    /// Upstream's name of it.
    fn name(&self) -> &'static str;

    /// Whether it looks at such a request at all. Asked of every write: cheap, and without a look at the object.
    fn handles(&self, request: &Request<'_>) -> bool;

    /// Changes the new object, in the stored version, or refuses. Not asked of deletions.
    fn mutate<'a>(
        &'a self,
        _request: &'a Request<'a>,
        _new: &'a mut Value,
        _effects: &'a mut Effects,
    ) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Judges the object as it would be stored; `new` is none for a deletion.
    fn validate<'a>(
        &'a self,
        _request: &'a Request<'a>,
        _new: Option<&'a Value>,
        _effects: &'a mut Effects,
    ) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Request<'_> {
    /// The mutating phase.
    pub(crate) async fn mutate(
        &self,
        new: &mut Value,
        effects: &mut Effects,
    ) -> Result<(), Status> {
        kind_hooks::admit(self, new)?;
        self.mutate_by_plugins(new, effects).await
    }

    pub(crate) async fn mutate_by_plugins(
        &self,
        new: &mut Value,
        effects: &mut Effects,
    ) -> Result<(), Status> {
        loop {
            for plugin in PLUGINS.iter().filter(|plugin| plugin.handles(self)) {
                let admitted = plugin.mutate(self, new, effects).await;
                self.tell_audit(effects);
                admitted.inspect_err(|why| noted(*plugin, why))?;
            }
            if !effects.reinvocation.begins_again() {
                return Ok(());
            }
        }
    }

    /// The validating phase. `new` is none for a deletion.
    pub(crate) async fn validate(
        &self,
        new: Option<&Value>,
        effects: &mut Effects,
    ) -> Result<(), Status> {
        if self.operation == Operation::Delete
            && let Some(old) = self.old
        {
            kind_hooks::admit_delete(self, old)?;
        }
        self.validate_by_plugins(new, effects).await
    }

    pub(crate) async fn validate_by_plugins(
        &self,
        new: Option<&Value>,
        effects: &mut Effects,
    ) -> Result<(), Status> {
        for plugin in PLUGINS.iter().filter(|plugin| plugin.handles(self)) {
            let admitted = plugin.validate(self, new, effects).await;
            self.tell_audit(effects);
            admitted.inspect_err(|why| noted(*plugin, why))?;
        }
        Ok(())
    }

    /// The whole of a request that stores nothing itself; answers the warnings.
    async fn admit_at_once(&self, body: &mut Value) -> Result<Vec<String>, Status> {
        let mut effects = Effects::of_request(self);
        self.admit(body, &mut effects).await?;
        Ok(effects.warnings)
    }

    /// Both phases at once, for what has no strategy in between.
    pub(crate) async fn admit(&self, new: &mut Value, effects: &mut Effects) -> Result<(), Status> {
        self.mutate_by_plugins(new, effects).await?;
        self.validate_by_plugins(Some(new), effects).await
    }

    /// Whether the request's namespace has an object of a resource.
    fn has_any_in_namespace(&self, resource: &str) -> bool {
        let namespace = &self.target.namespace;
        let snapshot = self.server.store().snapshot();
        !namespace.is_empty()
            && snapshot
                .list(resource, Some(namespace), None)
                .next()
                .is_some()
    }

    /// All objects of a resource in the request's namespace.
    fn all_in_namespace<T: DeserializeOwned + Send + Sync + 'static>(
        &self,
        resource: &str,
    ) -> Result<Vec<Arc<T>>, Status> {
        let snapshot = self.server.store().snapshot();
        let objects = snapshot.list(resource, Some(&self.target.namespace), None);
        let typed = objects.map(|object| object.typed::<T>());
        typed
            .collect::<Result<_, _>>()
            .map_err(|error| Status::internal(format!("{resource} cannot be read: {error}")))
    }

    fn tell_audit(&self, effects: &mut Effects) {
        for (key, value) in effects.annotations.drain(..) {
            self.context.audit.annotate(&key, || value);
        }
    }

    /// The target, with the name of an object whose creation's URL does not tell it (upstream's `extractResourceName`).
    pub(crate) fn named(&self, object: &Value) -> Target {
        let meta = Meta::of(object);
        let names = [&self.target.name, meta.name(), meta.generate_name()];
        let name = names.into_iter().find(|name| !name.is_empty());
        Target {
            name: name.unwrap_or("Unknown").to_owned(),
            ..self.target.clone()
        }
    }

    /// 403 about an object.
    pub(crate) fn forbidden(&self, object: &Value, why: &str) -> Status {
        forbidden_because(&self.named(object), why)
    }

    /// Whether it is about a kind, by its group and plural.
    pub(crate) fn is_about(&self, group: &str, plural: &str) -> bool {
        (self.target.kind.group(), self.target.kind.plural()) == (group, plural)
    }

    fn is_handled(&self) -> bool {
        PLUGINS.iter().any(|plugin| plugin.handles(self))
    }
}

fn noted(plugin: &dyn Plugin, why: &Status) {
    tracing::debug!(
        plugin = plugin.name(),
        why = why.message,
        "refused by admission"
    );
}

impl ApiServer {
    /// Admission of a POST to a subresource that acts: a binding, an eviction, a token request. Answers the warnings.
    pub(crate) async fn admit_action(
        &self,
        context: &Context,
        target: &Target,
        body: &mut Value,
        options: &WriteOptions,
    ) -> Result<Vec<String>, Status> {
        let request = Request {
            server: self,
            context,
            target,
            operation: Operation::Create,
            old: None,
            dry_run: options.dry_run,
            options: Some(options.into()),
        };
        request.admit_at_once(body).await
    }

    /// Admission of a stream into a pod, a node or a service: `options` is the object that says what is asked for, as
    /// upstream's (`v1` `PodExecOptions`, `PodAttachOptions`, `PodPortForwardOptions`, `PodProxyOptions`,
    /// `NodeProxyOptions`, `ServiceProxyOptions`, with its `apiVersion` and `kind`). Webhooks may change it. Comes after
    /// authorization and before anything reaches a node. Answers the warnings.
    pub async fn admit_connect(
        &self,
        context: &Context,
        target: &Target,
        options: &mut Value,
    ) -> Result<Vec<String>, Status> {
        let request = Request {
            server: self,
            context,
            target,
            operation: Operation::Connect,
            old: None,
            dry_run: false,
            options: None,
        };
        request.admit_at_once(options).await
    }
}
