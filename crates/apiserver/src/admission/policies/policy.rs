//! A ValidatingAdmissionPolicy, compiled once for each of its revisions.

use kontiki_api::cel::admission::{condition, policy, policy_conditions, without_authorizer};
use kontiki_api::cel::{CompileError, Environment, Program, Type};
use kontiki_base::status::Reason;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::super::expressions::Conditions;
use super::super::matching::Criteria;

/// What must hold, and of which requests.
pub(super) struct Policy {
    pub(super) name: String,
    pub(super) criteria: Criteria,
    /// `paramKind` as `(apiVersion, kind)`.
    pub(super) param_kind: Option<(String, String)>,
    /// Whether failures to evaluate are ignored.
    pub(super) may_fail: bool,
    pub(super) conditions: Conditions,
    pub(super) variables: Vec<(String, Program)>,
    pub(super) validations: Vec<Validation>,
    pub(super) annotations: Vec<Annotation>,
    /// Why it can't be used: a policy from before expressions were checked.
    pub(super) broken: Option<String>,
}

/// One rule.
pub(super) struct Validation {
    pub(super) expression: String,
    pub(super) program: Program,
    pub(super) message: String,
    pub(super) message_program: Option<Program>,
    pub(super) reason: Reason,
}

/// A value for the audit log.
pub(super) struct Annotation {
    pub(super) key: String,
    pub(super) program: Program,
}

impl<'de> Deserialize<'de> for Policy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Value::deserialize(deserializer)?;
        let spec = &object["spec"];
        let param_kind = spec["paramKind"].as_object().map(|kind| {
            let text = |field: &str| kind.get(field).and_then(Value::as_str).unwrap_or_default();
            (text("apiVersion").to_owned(), text("kind").to_owned())
        });
        let has_params = param_kind.is_some();
        let conditions = policy_conditions(has_params);
        let mut made = Self {
            name: object["metadata"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            criteria: Criteria::of_policy(&spec["matchConstraints"], false),
            param_kind,
            may_fail: spec["failurePolicy"] == "Ignore",
            conditions: Conditions::new(&spec["matchConditions"], &conditions),
            variables: Vec::new(),
            validations: Vec::new(),
            annotations: Vec::new(),
            broken: None,
        };
        if let Err(why) = made.compile(spec, policy(has_params)) {
            made.broken = Some(format!("compilation error: {why}"));
        }
        Ok(made)
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn each<'a>(spec: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    spec[field].as_array().into_iter().flatten()
}

impl Policy {
    fn compile(&mut self, spec: &Value, mut environment: Environment) -> Result<(), CompileError> {
        for variable in each(spec, "variables") {
            let name = text(variable, "name");
            let program = Program::compile(text(variable, "expression"), &environment)?;
            environment.add_lazy(name, program.result().clone());
            self.variables.push((name.to_owned(), program));
        }
        for validation in each(spec, "validations") {
            self.validations
                .push(Validation::new(validation, &environment)?);
        }
        for annotation in each(spec, "auditAnnotations") {
            let source = text(annotation, "valueExpression");
            self.annotations.push(Annotation {
                key: text(annotation, "key").to_owned(),
                program: Program::compile_to(source, &environment, &[Type::String, Type::Null])?,
            });
        }
        Ok(())
    }
}

impl Validation {
    fn new(validation: &Value, environment: &Environment) -> Result<Self, CompileError> {
        let expression = text(validation, "expression");
        let message = text(validation, "messageExpression");
        let for_messages = without_authorizer(environment);
        Ok(Self {
            expression: expression.trim().to_owned(),
            program: condition(expression, environment)?,
            message: text(validation, "message").trim().to_owned(),
            message_program: match message {
                "" => None,
                source => Some(Program::compile_to(source, &for_messages, &[Type::String])?),
            },
            reason: match text(validation, "reason") {
                "Unauthorized" => Reason::Unauthorized,
                "Forbidden" => Reason::Forbidden,
                "RequestEntityTooLarge" => Reason::RequestEntityTooLarge,
                _ => Reason::Invalid,
            },
        })
    }
}
