//! What callers hold: an environment to compile in, a program, the variables to evaluate it over.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::ast::Node;
use super::budget::Budget;
use super::check::Checker;
use super::error::{CompileError, EvalError};
use super::eval::Evaluator;
use super::parser::parse;
use super::types::{Field, ObjectType, Type};
use super::value::Value;

/// cel-go's limit of a source.
const MAX_SOURCE_CHARS: usize = 100_000;

/// The variables that expressions may name, and their types.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    pub(super) variables: BTreeMap<String, Type>,
    pub(super) lazy: Option<(String, ObjectType)>,
}

impl Environment {
    /// One that knows no variable.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more variable.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, of: Type) -> Self {
        self.variables.insert(name.into(), of);
        self
    }

    /// Without a variable.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.variables.remove(name);
        self
    }

    /// With an object, `name`, whose fields are expressions evaluated at first use. Only its fields can be selected.
    #[must_use]
    pub fn with_lazy(mut self, name: impl Into<String>) -> Self {
        let name = name.into();
        let object = ObjectType {
            name: format!("kubernetes.{name}"),
            fields: BTreeMap::new(),
        };
        self.lazy = Some((name, object));
        self
    }

    /// One more field of the lazy object.
    pub fn add_lazy(&mut self, field: &str, of: Type) {
        if let Some((_, object)) = &mut self.lazy {
            let json = field.to_owned();
            let known = Field { json, value: of };
            object.fields.insert(field.to_owned(), known);
        }
    }
}

/// A compiled expression.
#[derive(Debug)]
pub struct Program {
    root: Node,
    result: Type,
}

impl Program {
    /// Parses, resolves and checks a source.
    pub fn compile(source: &str, environment: &Environment) -> Result<Self, CompileError> {
        let n_chars = source.chars().count();
        if n_chars > MAX_SOURCE_CHARS {
            return Err(CompileError::whole(format!(
                "expression code point size exceeds limit: size: {n_chars}, limit {MAX_SOURCE_CHARS}"
            )));
        }
        let mut root = parse(source).map_err(|fault| CompileError::new(source, vec![fault]))?;
        let mut checker = Checker::new(environment);
        let result = checker.check(&mut root);
        if checker.faults.is_empty() {
            Ok(Self { root, result })
        } else {
            Err(CompileError::new(source, checker.faults))
        }
    }

    /// As [`Self::compile`], with a result of one of these types.
    pub fn compile_to(
        source: &str,
        environment: &Environment,
        results: &[Type],
    ) -> Result<Self, CompileError> {
        let program = Self::compile(source, environment)?;
        if program.result.is_dyn() || results.contains(&program.result) {
            return Ok(program);
        }
        let names: Vec<String> = results.iter().map(spelled).collect();
        Err(CompileError::result(match names.as_slice() {
            [one] => format!("must evaluate to {one}"),
            several => format!("must evaluate to one of [{}]", several.join(" ")),
        }))
    }

    pub(super) fn root(&self) -> &Node {
        &self.root
    }

    /// The type of its value, as far as it is known.
    pub fn result(&self) -> &Type {
        &self.result
    }

    /// The value for these variables.
    pub fn evaluate<'a>(
        &'a self,
        variables: &Variables<'a>,
        budget: &mut Budget,
    ) -> Result<Value<'a>, EvalError> {
        Evaluator::new(variables, budget).evaluate(&self.root)
    }

    /// The value, which has to be a boolean.
    pub fn evaluate_bool<'a>(
        &'a self,
        variables: &Variables<'a>,
        budget: &mut Budget,
    ) -> Result<bool, EvalError> {
        match self.evaluate(variables, budget)? {
            Value::Bool(value) => Ok(value),
            _ => Err(EvalError::failed("expression did not evaluate to a bool")),
        }
    }
}

/// Variables with their values.
#[derive(Debug, Default)]
pub struct Variables<'a> {
    values: Vec<(&'a str, Value<'a>)>,
    lazy: Option<Lazy<'a>>,
}

/// An object whose fields are expressions: each is evaluated once, when it is first asked for.
#[derive(Debug)]
struct Lazy<'a> {
    name: &'a str,
    fields: &'a [(String, Program)],
    known: RefCell<BTreeMap<usize, Result<Value<'a>, EvalError>>>,
}

impl<'a> Variables<'a> {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more.
    #[must_use]
    pub fn with(mut self, name: &'a str, value: Value<'a>) -> Self {
        self.values.push((name, value));
        self
    }

    /// An object of expressions, compiled in order, each over those before it.
    #[must_use]
    pub fn with_lazy(mut self, name: &'a str, fields: &'a [(String, Program)]) -> Self {
        self.lazy = Some(Lazy {
            name,
            fields,
            known: RefCell::default(),
        });
        self
    }

    pub(super) fn get(&self, name: &str) -> Option<Value<'a>> {
        let mut values = self.values.iter().rev();
        let found = values.find(|(known, _)| *known == name);
        found.map(|(_, value)| value.clone())
    }

    /// The field of the lazy object of this name, if there is such an object.
    pub(super) fn lazy(
        &self,
        name: &str,
        field: &str,
        budget: &mut Budget,
    ) -> Option<Result<Value<'a>, EvalError>> {
        let lazy = self.lazy.as_ref().filter(|lazy| lazy.name == name)?;
        let Some(i) = lazy.fields.iter().position(|(known, _)| known == field) else {
            return Some(Err(EvalError::no_such_key(field)));
        };
        if let Some(known) = lazy.known.borrow().get(&i) {
            return Some(known.clone());
        }
        // Fields name only those before them: this ends.
        let value = lazy.fields[i].1.evaluate(self, budget);
        lazy.known.borrow_mut().insert(i, value.clone());
        Some(value)
    }

    pub(super) fn has_lazy(&self, name: &str, field: &str) -> Option<bool> {
        let lazy = self.lazy.as_ref().filter(|lazy| lazy.name == name)?;
        Some(lazy.fields.iter().any(|(known, _)| known == field))
    }
}

/// As messages about results name a type.
fn spelled(of: &Type) -> String {
    match of {
        Type::Null => "null_type".to_owned(),
        other => other.to_string(),
    }
}
