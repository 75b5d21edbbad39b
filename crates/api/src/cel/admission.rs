//! The environments of admission: what match conditions and admission policies may name.

use super::{CompileError, Environment, Program, Type};

/// The authorizer.
pub const AUTHORIZER: Type = Type::Opaque("kubernetes.authorization.Authorizer");
/// A check of one resource.
pub const RESOURCE_CHECK: Type = Type::Opaque("kubernetes.authorization.ResourceCheck");
/// Name of the object of an admission policy's variables.
pub const VARIABLES: &str = "variables";

/// `request`: an AdmissionRequest without its objects.
pub fn request_type() -> Type {
    let gvk = |last: &str| {
        let fields = ["group", "version", last].map(|field| (field.to_owned(), Type::String));
        Type::object("kubernetes.GroupVersion", fields)
    };
    let (kind, resource) = (gvk("kind"), gvk("resource"));
    let user = Type::object(
        "kubernetes.UserInfo",
        [
            ("username", Type::String),
            ("uid", Type::String),
            ("groups", Type::list(Type::String)),
            ("extra", Type::map(Type::String, Type::list(Type::String))),
        ]
        .map(|(field, of)| (field.to_owned(), of)),
    );
    Type::object(
        "kubernetes.AdmissionRequest",
        [
            ("kind", kind.clone()),
            ("resource", resource.clone()),
            ("subResource", Type::String),
            ("requestKind", kind),
            ("requestResource", resource),
            ("requestSubResource", Type::String),
            ("name", Type::String),
            ("namespace", Type::String),
            ("operation", Type::String),
            ("userInfo", user),
            ("dryRun", Type::Bool),
            ("options", Type::Dyn),
        ]
        .map(|(field, of)| (field.to_owned(), of)),
    )
}

/// What a webhook's match conditions may name.
pub fn conditions() -> Environment {
    Environment::new()
        .with("object", Type::Dyn)
        .with("oldObject", Type::Dyn)
        .with("request", request_type())
        .with("authorizer", AUTHORIZER)
        .with("authorizer.requestResource", RESOURCE_CHECK)
}

/// What an admission policy's match conditions may name.
pub fn policy_conditions(has_params: bool) -> Environment {
    let environment = conditions().with("namespaceObject", Type::Dyn);
    if has_params {
        environment.with("params", Type::Dyn)
    } else {
        environment
    }
}

/// What an admission policy's expressions may name; its variables are added in their order.
pub fn policy(has_params: bool) -> Environment {
    policy_conditions(has_params).with_lazy(VARIABLES)
}

/// A condition.
pub fn condition(source: &str, environment: &Environment) -> Result<Program, CompileError> {
    Program::compile_to(source, environment, &[Type::Bool])
}

/// A message, made of the same as a validation but of the authorizer.
pub fn without_authorizer(environment: &Environment) -> Environment {
    environment
        .clone()
        .without("authorizer")
        .without("authorizer.requestResource")
}
