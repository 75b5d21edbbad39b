//! The evaluator: a walk over the tree that charges every step.

use std::sync::Arc;

use super::ast::{Call, Expr, Index, Literal, Node, Select};
use super::budget::Budget;
use super::error::EvalError;
use super::functions;
use super::program::Variables;
use super::value::Value;

mod loops;

pub(super) type Evaluated<'a> = Result<Value<'a>, EvalError>;

/// What making a list costs, beside its elements.
const LIST_UNITS: u64 = 10;
/// What making a map costs, beside its entries.
const MAP_UNITS: u64 = 30;

pub(super) struct Evaluator<'p, 'a> {
    variables: &'p Variables<'a>,
    budget: &'p mut Budget,
    /// Names bound by macros, the innermost last.
    locals: Vec<(&'p str, Value<'a>)>,
}

impl<'p, 'a> Evaluator<'p, 'a> {
    pub(super) fn new(variables: &'p Variables<'a>, budget: &'p mut Budget) -> Self {
        Self {
            variables,
            budget,
            locals: Vec::new(),
        }
    }

    /// The value of a node.
    pub(super) fn evaluate(&mut self, node: &'p Node) -> Evaluated<'a> {
        match &node.expr {
            Expr::Literal(literal) => Ok(literal_value(literal)),
            Expr::Name(name) => self.name(name),
            Expr::Select(select) => self.select(select),
            Expr::Index(index) => self.index(index),
            Expr::Call(call) => self.call(call),
            Expr::And(terms) => self.logical(terms, false),
            Expr::Or(terms) => self.logical(terms, true),
            Expr::If(parts) => {
                let [condition, then, otherwise] = &**parts;
                match self.evaluate(condition)? {
                    Value::Bool(true) => self.evaluate(then),
                    Value::Bool(false) => self.evaluate(otherwise),
                    _ => Err(EvalError::no_such_overload()),
                }
            }
            Expr::List(elements) => {
                self.budget.charge(LIST_UNITS)?;
                let mut made = Vec::with_capacity(elements.len());
                for element in elements {
                    let value = self.evaluate(&element.value)?;
                    made.extend(present(value, element.is_optional)?);
                }
                Ok(Value::list(made))
            }
            Expr::Map(entries) => {
                self.budget.charge(MAP_UNITS)?;
                let mut made: Vec<(Value<'a>, Value<'a>)> = Vec::with_capacity(entries.len());
                for entry in entries {
                    let (key, value) = (self.evaluate(&entry.key)?, self.evaluate(&entry.value)?);
                    if let Some(value) = present(value, entry.is_optional)? {
                        self.insert(&mut made, key, value)?;
                    }
                }
                Ok(Value::map(made))
            }
            Expr::Loop(found) => self.looped(found),
        }
    }

    fn insert(
        &mut self,
        entries: &mut Vec<(Value<'a>, Value<'a>)>,
        key: Value<'a>,
        value: Value<'a>,
    ) -> Result<(), EvalError> {
        if !matches!(
            key,
            Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::String(_)
        ) {
            return Err(EvalError::failed(format!(
                "unsupported key type: {}",
                key.type_name()
            )));
        }
        for (known, _) in entries.iter() {
            if known.equals(&key, self.budget)? {
                return Err(EvalError::failed(format!(
                    "insert failed: key {} already exists",
                    shown(&key)
                )));
            }
        }
        entries.push((key, value));
        Ok(())
    }

    fn name(&mut self, name: &str) -> Evaluated<'a> {
        self.budget.charge(1)?;
        let mut locals = self.locals.iter().rev();
        if let Some((_, value)) = locals.find(|(known, _)| *known == name) {
            return Ok(value.clone());
        }
        if let Some(value) = self.variables.get(name) {
            return Ok(value);
        }
        match name {
            "bool"
            | "int"
            | "uint"
            | "double"
            | "string"
            | "bytes"
            | "list"
            | "map"
            | "null_type"
            | "type"
            | "google.protobuf.Timestamp"
            | "google.protobuf.Duration" => Ok(Value::Type(name.into())),
            _ => Err(EvalError::failed(format!("no such attribute(s): {name}"))),
        }
    }

    fn select(&mut self, select: &'p Select) -> Evaluated<'a> {
        self.budget.charge(1)?;
        if let Expr::Name(name) = &select.of.expr
            && !self.locals.iter().any(|(known, _)| *known == &**name)
        {
            if select.is_test
                && let Some(has) = self.variables.has_lazy(name, &select.field)
            {
                return Ok(Value::Bool(has));
            }
            if let Some(value) = self.variables.lazy(name, &select.field, self.budget) {
                return if select.is_optional {
                    value.map(Value::some)
                } else {
                    value
                };
            }
        }
        let of = self.evaluate(&select.of)?;
        let key = Value::String(Arc::clone(&select.field).into());
        if select.is_test {
            return self
                .lookup(&of, &key)
                .map(|found| Value::Bool(found.is_some()));
        }
        self.chosen(&of, &key, select.is_optional)
    }

    /// `of[key]` in all its forms. A choice from an optional is optional.
    fn chosen(&mut self, of: &Value<'a>, key: &Value<'a>, is_optional: bool) -> Evaluated<'a> {
        let found = self.lookup(of, key)?;
        if is_optional || matches!(of, Value::Optional(_)) {
            return Ok(match found {
                Some(inner @ Value::Optional(_)) => inner,
                found => Value::optional(found),
            });
        }
        found.ok_or_else(|| match of {
            Value::List(_) => EvalError::failed(format!("index out of bounds: {}", shown(key))),
            _ => EvalError::no_such_key(&shown(key)),
        })
    }

    fn lookup(&mut self, of: &Value<'a>, key: &Value<'a>) -> Result<Option<Value<'a>>, EvalError> {
        match of {
            Value::Optional(None) => Ok(None),
            Value::Optional(Some(of)) => self.lookup(of, key),
            Value::Map(map) => map.get(key, self.budget),
            Value::List(list) => {
                let i = position(key).ok_or_else(EvalError::no_such_overload)?;
                Ok(usize::try_from(i).ok().and_then(|i| list.get(i)))
            }
            _ => Err(EvalError::no_such_overload()),
        }
    }

    fn index(&mut self, index: &'p Index) -> Evaluated<'a> {
        self.budget.charge(1)?;
        let of = self.evaluate(&index.of)?;
        let key = self.evaluate(&index.key)?;
        self.chosen(&of, &key, index.is_optional)
    }

    fn call(&mut self, call: &'p Call) -> Evaluated<'a> {
        self.budget.charge(1)?;
        let mut arguments = Vec::with_capacity(call.arguments.len() + 1);
        if let Some(target) = &call.target {
            arguments.push(self.evaluate(target)?);
        }
        for argument in &call.arguments {
            arguments.push(self.evaluate(argument)?);
        }
        functions::run(call, &arguments, self.budget)
    }

    /// `&&` and `||`: a term that decides does so also after one that failed.
    fn logical(&mut self, terms: &'p [Node], decides: bool) -> Evaluated<'a> {
        self.budget.charge(1)?;
        let mut failed = None;
        for term in terms {
            match self.evaluate(term) {
                Ok(Value::Bool(value)) if value == decides => return Ok(Value::Bool(decides)),
                Ok(Value::Bool(_)) => {}
                Ok(_) => {
                    failed.get_or_insert_with(EvalError::no_such_overload);
                }
                Err(EvalError::CostExceeded) => return Err(EvalError::CostExceeded),
                Err(why) => {
                    failed.get_or_insert(why);
                }
            }
        }
        failed.map_or(Ok(Value::Bool(!decides)), Err)
    }
}

fn literal_value<'a>(literal: &Literal) -> Value<'a> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(value) => Value::Bool(*value),
        Literal::Int(value) => Value::Int(*value),
        Literal::Uint(value) => Value::Uint(*value),
        Literal::Double(value) => Value::Double(*value),
        Literal::String(text) => Value::String(Arc::clone(text).into()),
        Literal::Bytes(bytes) => Value::Bytes(Arc::clone(bytes)),
    }
}

/// The value itself, or what an optional holds where one is asked for.
fn present(value: Value<'_>, is_optional: bool) -> Result<Option<Value<'_>>, EvalError> {
    match (is_optional, value) {
        (false, value) => Ok(Some(value)),
        (true, Value::Optional(value)) => Ok(value.map(|value| (*value).clone())),
        (true, _) => Err(EvalError::no_such_overload()),
    }
}

/// A number as a place in a list.
fn position(key: &Value<'_>) -> Option<i64> {
    match key {
        Value::Int(value) => Some(*value),
        Value::Uint(value) => i64::try_from(*value).ok(),
        Value::Double(value) if value.fract() == 0.0 => Some(*value as i64),
        _ => None,
    }
}

/// A key as messages show it.
pub(super) fn shown(key: &Value<'_>) -> String {
    match key {
        Value::String(text) => text.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Uint(value) => value.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Double(value) => value.to_string(),
        other => other.type_name().to_owned(),
    }
}
