//! CEL over a request: match conditions, and the variables that every expression of admission may name.

use std::fmt;

use kontiki_api::Subresource;
use kontiki_api::cel::{
    self, Authorizer, Authz, Budget, Check, Decision, EvalError, Program, Type, Value as Cel,
    Variables,
};
use kontiki_api::rbac::Ask;
use serde_json::Value;

use super::Request;
use super::matching::{name_of, namespace_of};
use super::review::{Versioned, request_json};
use crate::authz::{self, Attributes};
use crate::options::User;
use crate::server::ApiServer;
use crate::service_accounts;

/// Conditions that all have to hold.
#[derive(Debug, Default)]
pub(super) struct Conditions(Vec<Condition>);

#[derive(Debug)]
struct Condition {
    name: String,
    /// What it is, or why it can't be told: an object from before expressions were checked.
    program: Result<Program, String>,
}

impl Conditions {
    /// From `matchConditions`.
    pub(super) fn new(conditions: &Value, environment: &cel::Environment) -> Self {
        let conditions = conditions.as_array().into_iter().flatten();
        let compiled = conditions.map(|condition| {
            let source = condition["expression"].as_str().unwrap_or_default();
            let program = cel::admission::condition(source, environment);
            Condition {
                name: condition["name"].as_str().unwrap_or_default().to_owned(),
                program: program.map_err(|why| format!("compilation error: {why}")),
            }
        });
        Self(compiled.collect())
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all hold. One that does not decides, whatever became of the others.
    pub(super) fn hold<'a>(&'a self, variables: &Variables<'a>) -> Result<bool, String> {
        let mut budget = Budget::units(cel::MATCH_CONDITIONS_UNITS);
        let mut errors = Vec::new();
        for condition in &self.0 {
            match condition.evaluate(variables, &mut budget) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(why) => errors.push(format!("{}: {why}", condition.name)),
            }
        }
        match errors.as_slice() {
            [] => Ok(true),
            errors => Err(authz::rbac::aggregated(errors)),
        }
    }
}

impl Condition {
    fn evaluate<'a>(
        &'a self,
        variables: &Variables<'a>,
        budget: &mut Budget,
    ) -> Result<bool, String> {
        let program = self.program.as_ref().map_err(Clone::clone)?;
        let evaluated = limited(budget, |part| program.evaluate_bool(variables, part));
        evaluated.map_err(|why| why.to_string())
    }
}

/// Evaluates one expression within its own limit and what is left of the whole.
pub(super) fn limited<T>(
    budget: &mut Budget,
    evaluate: impl FnOnce(&mut Budget) -> Result<T, EvalError>,
) -> Result<T, EvalError> {
    let mut part = budget.part(cel::PER_CALL_UNITS);
    let value = evaluate(&mut part);
    budget.settle(cel::PER_CALL_UNITS, &part);
    value
}

/// What the variables of a request are read from.
pub(super) struct Source<'a> {
    request: Value,
    namespace: Option<Value>,
    versioned: &'a Versioned<'a>,
    asker: Asker<'a>,
    check: Check,
}

impl<'a> Source<'a> {
    /// A request in one version. `with_namespace` reads the namespace object too.
    pub(super) fn new(
        request: &Request<'a>,
        versioned: &'a Versioned<'a>,
        with_namespace: bool,
    ) -> Self {
        let new = versioned.new.as_deref();
        let namespace = namespace_of(request, new);
        let check = Check {
            group: request.target.kind.group().to_owned(),
            resource: request.target.kind.plural().to_owned(),
            subresource: request
                .target
                .subresource
                .map_or("", Subresource::name)
                .to_owned(),
            namespace: namespace.to_owned(),
            name: name_of(request, new).to_owned(),
            ..Check::default()
        };
        let found = (with_namespace && request.target.kind.namespaced()).then(|| {
            request
                .server
                .store()
                .snapshot()
                .find("namespaces", "", namespace)
        });
        Self {
            request: Value::Object(request_json(request, versioned)),
            namespace: found.flatten().map(|namespace| namespace.value()),
            versioned,
            asker: Asker {
                server: request.server,
                user: &request.context.user,
            },
            check,
        }
    }

    /// The variables of every expression of admission.
    pub(super) fn variables<'s>(&'s self, request_type: &'s Type) -> Variables<'s> {
        let object = |object: Option<&'s Value>| object.map_or(Cel::Null, Cel::json);
        let check = Authz::resource(&self.asker, self.check.clone());
        Variables::new()
            .with("object", object(self.versioned.new.as_deref()))
            .with("oldObject", object(self.versioned.old.as_deref()))
            .with("request", Cel::of(&self.request, request_type))
            .with("namespaceObject", object(self.namespace.as_ref()))
            .with("authorizer", Cel::Authz(Authz::new(&self.asker)))
            .with("authorizer.requestResource", Cel::Authz(check))
    }
}

/// Asks the server's authorizers for the user of a request, or for a ServiceAccount.
struct Asker<'a> {
    server: &'a ApiServer,
    user: &'a User,
}

impl fmt::Debug for Asker<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asker")
    }
}

impl Authorizer for Asker<'_> {
    fn decide(&self, check: &Check) -> Decision {
        let account = check.service_account.as_ref();
        let account = account.map(|(namespace, name)| account_user(namespace, name));
        let attributes = Attributes {
            user: account.as_ref().unwrap_or(self.user),
            namespace: &check.namespace,
            ask: Ask {
                verb: &check.verb,
                group: &check.group,
                resource: &check.resource,
                subresource: &check.subresource,
                name: &check.name,
                path: check.path.as_deref(),
            },
            node_name: None,
        };
        match self.server.decide(&attributes) {
            authz::Decision::Allow(why) => Decision {
                is_allowed: true,
                reason: why.to_string(),
                error: None,
            },
            authz::Decision::NoOpinion(reason) => Decision {
                reason,
                ..Decision::default()
            },
        }
    }
}

fn account_user(namespace: &str, name: &str) -> User {
    let groups = [
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{namespace}"),
        "system:authenticated".to_owned(),
    ];
    User {
        name: service_accounts::username(namespace, name),
        groups: groups.into(),
        ..User::default()
    }
}
