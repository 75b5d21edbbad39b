//! Admission of what controllers write: the same plugins as for clients, without the way through a request.
//!
//! A controller's create is defaulted, tracked and admitted by its kind already (`kontiki-controllers`' `commit`), so
//! only the plugins are asked. What they add to the transaction is shared by all writes of one plan.

use kontiki_api::Kind;
use kontiki_api::meta::Meta;
use kontiki_base::status::Status;
use kontiki_state::Op;
use serde_json::Value;

use super::{Effects, Operation, Request};
use crate::options::{Context, Target, User};
use crate::server::ApiServer;
use crate::service_accounts;

/// The namespace of the accounts that controllers run as.
const NAMESPACE: &str = "kube-system";

/// One write of a controller.
pub struct ControllerWrite<'a> {
    /// Name of the controller: it acts as this ServiceAccount of `kube-system`.
    pub controller: &'a str,
    /// What it does.
    pub operation: Operation,
    /// The kind, in its stored version.
    pub kind: Kind,
    /// The part that is write.
    pub subresource: Option<kontiki_api::Subresource>,
    /// Namespace and name, the name as far as it is known.
    pub namespace: &'a str,
    /// See `namespace`.
    pub name: &'a str,
    /// The object as it is stored; none for a create.
    pub old: Option<&'a Value>,
}

impl ControllerWrite<'_> {
    fn context(&self) -> Context {
        let user = User {
            name: format!(
                "{}{NAMESPACE}:{}",
                service_accounts::PREFIX,
                self.controller
            ),
            groups: [
                "system:serviceaccounts",
                "system:serviceaccounts:kube-system",
                "system:authenticated",
            ]
            .map(str::to_owned)
            .to_vec(),
            ..User::default()
        };
        Context {
            user,
            user_agent: self.controller.to_owned(),
            ..Context::default()
        }
    }

    fn target(&self) -> Target {
        Target {
            kind: self.kind.clone(),
            namespace: self.namespace.to_owned(),
            name: self.name.to_owned(),
            subresource: self.subresource,
        }
    }
}

impl ApiServer {
    /// Whether any plugin looks at such a write. Cheap.
    pub fn admits(&self, write: &ControllerWrite<'_>) -> bool {
        let (context, target) = (write.context(), write.target());
        self.request(write, &context, &target).is_handled()
    }

    /// Lets a controller's write through both phases, or says why not. `new` is none for a deletion; operations that
    /// belong into the same transaction are added to `ops`.
    pub async fn admit_controller(
        &self,
        write: &ControllerWrite<'_>,
        new: Option<&mut Value>,
        ops: &mut Vec<Op>,
    ) -> Result<(), Status> {
        let (context, mut target) = (write.context(), write.target());
        if let Some(new) = &new {
            target.name = Meta::of(new).name().to_owned();
        }
        let request = self.request(write, &context, &target);
        let mut effects = Effects {
            ops: std::mem::take(ops),
            ..Effects::default()
        };
        let admitted = match new {
            Some(new) => request.admit(new, &mut effects).await,
            None => request.validate_by_plugins(None, &mut effects).await,
        };
        *ops = effects.ops;
        admitted
    }

    fn request<'a>(
        &'a self,
        write: &ControllerWrite<'a>,
        context: &'a Context,
        target: &'a Target,
    ) -> Request<'a> {
        Request {
            server: self,
            context,
            target,
            operation: write.operation,
            old: write.old,
            dry_run: false,
            options: None,
        }
    }
}
