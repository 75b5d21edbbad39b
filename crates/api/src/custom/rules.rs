//! Rules of a schema in CEL (`x-kubernetes-validations`): compiled once with the definition, asked of each object under
//! upstream's budget.
//!
//! A rule that names `oldSelf` is about a transition: it is asked only where there is an old value, unless the rule
//! takes it as an optional. What has not changed is asked nothing (ratcheting).

use serde_json::Value;

use super::structural::Structural;
use super::validate::counterpart;
use crate::cel::{self, Budget, Environment, EvalError, Program, Type, Variables};
use crate::field_error::{ErrorKind, FieldError};

mod extents;
mod types;

pub(crate) use extents::{bound_of, extent_of, most_in_a_request};
use types::type_of;

/// Reasons that a rule may give.
pub(crate) const REASONS: [&str; 4] = [
    "FieldValueInvalid",
    "FieldValueForbidden",
    "FieldValueRequired",
    "FieldValueDuplicate",
];

/// The rules of one version.
#[derive(Debug)]
pub(crate) struct Rules(Option<Node>);

/// Rules of a value, and below it.
#[derive(Debug)]
struct Node {
    of: Type,
    /// The schema's `type`, which errors show in place of the value.
    kind: Box<str>,
    rules: Vec<Rule>,
    properties: Vec<(Box<str>, Node)>,
    additional: Option<Box<Node>>,
    items: Option<Box<Node>>,
    /// To find an item's counterpart in the old list.
    schema: Structural,
}

/// A compiled rule.
#[derive(Debug)]
pub(crate) struct Rule {
    source: Box<str>,
    program: Result<Program, String>,
    message: Option<Box<str>>,
    message_program: Option<Program>,
    reason: Box<str>,
    field_path: Box<str>,
    is_transition: bool,
    takes_optional: bool,
}

impl Rules {
    /// Compiles the rules of a schema.
    pub(crate) fn of(schema: &Structural) -> Self {
        Self(Node::of(schema, true))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The rules that an object breaks.
    pub(crate) fn validate(&self, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let Some(node) = &self.0 else {
            return Vec::new();
        };
        let mut run = Run {
            budget: Budget::units(cel::TOTAL_UNITS),
            errors: Vec::new(),
            is_over: false,
        };
        run.node(node, new, old, "");
        run.errors
    }
}

impl Node {
    fn of(schema: &Structural, is_resource: bool) -> Option<Self> {
        if !schema.any(&|schema| schema.rules.is_some()) {
            return None;
        }
        let of = type_of(schema, is_resource);
        let rules = schema.rules.as_deref().and_then(Value::as_array);
        let rules = rules.into_iter().flatten();
        let below = |schema: &Structural| Node::of(schema, schema.is_embedded);
        let properties = schema.properties.iter();
        let properties = properties.filter_map(|(name, of)| Some((name.clone(), below(of)?)));
        let mut own = schema.clone();
        own.properties.clear();
        own.values = None;
        own.items = None;
        Some(Self {
            rules: rules.map(|rule| Rule::of(rule, &of)).collect(),
            kind: schema.kind.clone(),
            properties: properties.collect(),
            additional: schema.additional_schema().and_then(below).map(Box::new),
            items: schema.items.as_deref().and_then(below).map(Box::new),
            schema: own,
            of,
        })
    }
}

impl Rule {
    /// Compiles a rule about values of a type.
    pub(crate) fn of(rule: &Value, of: &Type) -> Self {
        let text = |name: &str| rule[name].as_str().unwrap_or_default();
        let takes_optional = rule["optionalOldSelf"] == true;
        let plain = Environment::new().with("self", of.clone());
        let old = match takes_optional {
            true => Type::optional(of.clone()),
            false => of.clone(),
        };
        let with_old = plain.clone().with("oldSelf", old);
        let alone = Program::compile_to(text("rule"), &plain, &[Type::Bool]);
        let (program, is_transition) = match alone {
            Ok(program) => (Ok(program), false),
            Err(_) => {
                let program = Program::compile_to(text("rule"), &with_old, &[Type::Bool]);
                (program.map_err(|error| error.to_string()), true)
            }
        };
        let message_program = match text("messageExpression") {
            "" => None,
            source => {
                let environment = if is_transition { &with_old } else { &plain };
                Program::compile_to(source, environment, &[Type::String]).ok()
            }
        };
        Self {
            source: text("rule").trim().into(),
            program,
            message: Some(text("message").trim())
                .filter(|message| !message.is_empty())
                .map(Into::into),
            message_program,
            reason: text("reason").into(),
            field_path: text("fieldPath").into(),
            is_transition,
            takes_optional,
        }
    }

    fn spoken(&self) -> &str {
        self.message.as_deref().unwrap_or(&self.source)
    }

    /// The error of a rule that does not hold.
    fn broken(&self, node: &Node, path: &str, detail: String) -> FieldError {
        let path = format!("{path}{}", self.field_path);
        let path = match path.trim_start_matches('.') {
            "" => "<nil>",
            path => path,
        };
        match &*self.reason {
            "FieldValueForbidden" => FieldError::forbidden(path, detail),
            "FieldValueRequired" => FieldError::required(path, detail),
            "FieldValueDuplicate" => FieldError::duplicate(path, &*node.kind),
            _ => FieldError::invalid(path, &*node.kind, detail),
        }
    }
}

struct Run {
    budget: Budget,
    errors: Vec<FieldError>,
    is_over: bool,
}

impl Run {
    fn node(&mut self, node: &Node, new: &Value, old: Option<&Value>, path: &str) {
        for rule in &node.rules {
            self.rule(node, rule, new, old, path);
        }
        if self.is_over {
            return;
        }
        match new {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let known = node.properties.iter().find(|(known, _)| **known == **name);
                    let (below, path) = match (known, &node.additional) {
                        (Some((_, below)), _) if path.is_empty() => (below, name.clone()),
                        (Some((_, below)), _) => (below, format!("{path}.{name}")),
                        (None, Some(below)) => (&**below, format!("{path}[{name}]")),
                        (None, None) => continue,
                    };
                    let old = old.and_then(|old| old.get(name));
                    self.node(below, value, old, &path);
                }
            }
            Value::Array(items) => {
                let Some(below) = &node.items else { return };
                for (idx, item) in items.iter().enumerate() {
                    let old = old.and_then(|old| counterpart(&node.schema, item, old));
                    self.node(below, item, old, &format!("{path}[{idx}]"));
                }
            }
            _ => {}
        }
    }

    fn rule(&mut self, node: &Node, rule: &Rule, new: &Value, old: Option<&Value>, path: &str) {
        let is_unchanged = old == Some(new);
        if self.is_over
            || (is_unchanged && !rule.is_transition)
            || (rule.is_transition && old.is_none() && !rule.takes_optional)
        {
            return;
        }
        let program = match &rule.program {
            Ok(program) => program,
            Err(why) => {
                let detail = format!("rule compile error: {why}");
                self.errors.push(node_error(node, path, detail));
                return;
            }
        };
        let mut variables = Variables::new().with("self", cel::Value::of(new, &node.of));
        if rule.is_transition {
            let old = old.map(|old| cel::Value::of(old, &node.of));
            let old = match rule.takes_optional {
                true => cel::Value::optional(old),
                false => old.unwrap_or(cel::Value::Null),
            };
            variables = variables.with("oldSelf", old);
        }
        let mut part = self.budget.part(cel::PER_CALL_UNITS);
        let held = program.evaluate_bool(&variables, &mut part);
        self.budget.settle(cel::PER_CALL_UNITS, &part);
        match held {
            Ok(true) => {}
            Ok(false) => {
                let mut part = self.budget.part(cel::PER_CALL_UNITS);
                let told = rule.message_program.as_ref().and_then(|program| {
                    match program.evaluate(&variables, &mut part).ok()? {
                        cel::Value::String(text) => Some(text.as_str().trim().to_owned()),
                        _ => None,
                    }
                });
                self.budget.settle(cel::PER_CALL_UNITS, &part);
                let usable = |text: &String| !text.is_empty() && !text.contains('\n');
                let told = told.filter(usable).unwrap_or_else(|| {
                    let message = rule.message.as_deref().map(str::to_owned);
                    message.unwrap_or_else(|| format!("failed rule: {}", rule.source))
                });
                self.errors.push(rule.broken(node, path, told));
            }
            Err(error) => self.failed(node, rule, &error, path),
        }
    }

    fn failed(&mut self, node: &Node, rule: &Rule, error: &EvalError, path: &str) {
        let spoken = rule.spoken();
        let detail = match error {
            EvalError::CostExceeded => {
                self.is_over = true;
                if self.budget.left_units() == 0 {
                    "validation failed due to running out of cost budget, no further validation rules will be run".to_owned()
                } else {
                    format!(
                        "'{error}': no further validation rules will be run due to call cost exceeds limit for rule: {spoken}"
                    )
                }
            }
            EvalError::Failed(message) if message.starts_with("no such overload") => format!(
                "'{error}': call arguments did not match a supported operator, function or macro signature for rule: {spoken}"
            ),
            EvalError::Failed(_) => format!("{error} evaluating rule: {spoken}"),
        };
        self.errors.push(node_error(node, path, detail));
    }
}

fn node_error(node: &Node, path: &str, detail: String) -> FieldError {
    let path = if path.is_empty() { "<nil>" } else { path };
    FieldError::invalid(path, &*node.kind, detail)
}

/// Whether an error keeps the rules from being asked: the value is not even of its shape.
pub(crate) fn is_blocking(error: &FieldError) -> bool {
    matches!(
        error.kind,
        ErrorKind::NotSupported
            | ErrorKind::Required
            | ErrorKind::TooLong
            | ErrorKind::TooMany
            | ErrorKind::TypeInvalid
    )
}

/// What is told in their place.
pub(crate) fn unchecked() -> FieldError {
    FieldError::invalid(
        "<nil>",
        "null",
        "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
    )
}

/// An expression of a definition and the most that one evaluation of it costs.
pub(crate) struct Priced {
    /// Where it stands.
    pub(crate) path: String,
    /// `rule` or `messageExpression`.
    pub(crate) what: &'static str,
    pub(crate) cost: u64,
}

/// What is wrong with the rules of a schema, as the definition's author reads it, and what those that compile cost.
pub(crate) fn check(
    schema: &Structural,
    is_resource: bool,
    path: &str,
    priced: &mut Vec<Priced>,
) -> Vec<FieldError> {
    let rules = schema.rules.as_deref().and_then(Value::as_array);
    let of = type_of(schema, is_resource);
    let extent = extent_of(schema, is_resource);
    let variables = [("self", &extent), ("oldSelf", &extent)];
    let mut errors = Vec::new();
    for (idx, rule) in rules.into_iter().flatten().enumerate() {
        let path = format!("{path}.x-kubernetes-validations[{idx}]");
        let Some(compiled) = check_rule(rule, &of, &path, &mut errors) else {
            continue;
        };
        let programs = [
            ("rule", compiled.program.as_ref().ok()),
            ("messageExpression", compiled.message_program.as_ref()),
        ];
        for (what, program) in programs {
            priced.extend(program.map(|program| Priced {
                path: format!("{path}.{what}"),
                what,
                cost: program.max_cost(&variables),
            }));
        }
    }
    errors
}

fn check_rule(rule: &Value, of: &Type, path: &str, errors: &mut Vec<FieldError>) -> Option<Rule> {
    let text = |name: &str| rule[name].as_str().unwrap_or_default();
    if text("rule").trim().is_empty() {
        errors.push(FieldError::required(
            format!("{path}.rule"),
            "rule is not specified",
        ));
        return None;
    }
    if rule["message"].is_string() && text("message").trim().is_empty() {
        let detail = "message must be non-empty if specified";
        errors.push(FieldError::invalid(
            format!("{path}.message"),
            text("message"),
            detail,
        ));
    } else if text("message").trim().contains('\n') {
        let detail = "message must not contain line breaks";
        errors.push(FieldError::invalid(
            format!("{path}.message"),
            text("message"),
            detail,
        ));
    }
    if text("message").trim().is_empty() && text("rule").trim().contains('\n') {
        let detail = "message must be specified if rule contains line breaks";
        errors.push(FieldError::required(format!("{path}.message"), detail));
    }
    let reason = rule["reason"].as_str();
    if let Some(reason) = reason.filter(|reason| !REASONS.contains(reason)) {
        let mut known = REASONS;
        known.sort_unstable();
        errors.push(FieldError::not_supported(
            format!("{path}.reason"),
            reason,
            &known,
        ));
    }
    let compiled = Rule::of(rule, of);
    if let Err(why) = &compiled.program {
        let detail = format!("compilation failed: {why}");
        errors.push(FieldError::invalid(format!("{path}.rule"), rule, detail));
        return None;
    }
    if rule["optionalOldSelf"] == true && !compiled.is_transition {
        let detail = "may not be set if oldSelf is not used in rule";
        errors.push(FieldError::invalid(
            format!("{path}.optionalOldSelf"),
            true,
            detail,
        ));
    }
    if !text("messageExpression").is_empty() && compiled.message_program.is_none() {
        let environment = Environment::new()
            .with("self", of.clone())
            .with("oldSelf", of.clone());
        let source = text("messageExpression");
        let why = Program::compile_to(source, &environment, &[Type::String]);
        let why = why.err().map_or_else(
            || "must evaluate to a string".to_owned(),
            |error| error.to_string(),
        );
        let detail = format!("messageExpression compilation failed: {why}");
        errors.push(FieldError::invalid(
            format!("{path}.messageExpression"),
            rule,
            detail,
        ));
    }
    Some(compiled)
}

#[cfg(test)]
mod tests;
