//! The checker: names are declared, functions have an overload, fields exist, conditions are boolean. It tells every
//! fault of an expression, not the first one, and resolves functions with a dotted name.
//!
//! What a value is made of at run time may still be wrong: a `dyn` passes everything here.

use std::sync::Arc;

use super::ast::{Call, Expr, Index, Literal, Loop, Macro, Node, Select};
use super::functions::{self, Overload};
use super::program::Environment;
use super::types::{ObjectType, Type};

pub(super) struct Checker<'e> {
    environment: &'e Environment,
    locals: Vec<(Arc<str>, Type)>,
    /// Inside the arguments of `format`, whose list is of anything.
    is_mixed: bool,
    pub(super) faults: Vec<(u32, String)>,
}

const TYPE_NAMES: &[&str] = &[
    "bool",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "list",
    "map",
    "null_type",
    "type",
];

impl<'e> Checker<'e> {
    pub(super) fn new(environment: &'e Environment) -> Self {
        Self {
            environment,
            locals: Vec::new(),
            is_mixed: false,
            faults: Vec::new(),
        }
    }

    fn fault(&mut self, at: u32, message: String) -> Type {
        self.faults.push((at, message));
        Type::Dyn
    }

    fn undeclared(&mut self, at: u32, name: &str) -> Type {
        self.fault(
            at,
            format!("undeclared reference to '{name}' (in container '')"),
        )
    }

    /// The type of a node.
    pub(super) fn check(&mut self, node: &mut Node) -> Type {
        let of = self.type_of(node);
        node.of = of.clone();
        of
    }

    fn type_of(&mut self, node: &mut Node) -> Type {
        let at = node.at;
        if let Some((name, of)) = self.dotted(node) {
            node.expr = Expr::Name(name.into());
            return of;
        }
        match &mut node.expr {
            Expr::Literal(literal) => literal_type(literal),
            Expr::Name(name) => match self.declared(name) {
                Some(known) => known,
                None if TYPE_NAMES.contains(&&**name) => Type::Type,
                None => {
                    let name = name.clone();
                    self.undeclared(at, &name)
                }
            },
            Expr::Select(select) => self.select(at, select),
            Expr::Index(index) => self.index(at, index),
            Expr::Call(call) => self.call(at, call),
            Expr::And(terms) | Expr::Or(terms) => {
                for term in terms {
                    self.expect(term, &Type::Bool);
                }
                Type::Bool
            }
            Expr::If(parts) => {
                let [condition, then, otherwise] = &mut **parts;
                self.expect(condition, &Type::Bool);
                let (a, b) = (self.check(then), self.check(otherwise));
                self.joined(at, a, b, "_?_:_")
            }
            Expr::List(elements) => {
                let mut of: Option<Type> = None;
                for element in elements {
                    let found = self.check(&mut element.value);
                    let found = self.unwrapped(&found, element.is_optional, element.value.at);
                    of = Some(self.aggregated(element.value.at, of, found));
                }
                Type::list(of.unwrap_or(Type::Dyn))
            }
            Expr::Map(entries) => {
                let (mut keys, mut values): (Option<Type>, Option<Type>) = (None, None);
                for entry in entries {
                    let key = self.check(&mut entry.key);
                    keys = Some(self.aggregated(entry.key.at, keys, key));
                    let value = self.check(&mut entry.value);
                    let value = self.unwrapped(&value, entry.is_optional, entry.value.at);
                    values = Some(self.aggregated(entry.value.at, values, value));
                }
                Type::map(keys.unwrap_or(Type::Dyn), values.unwrap_or(Type::Dyn))
            }
            Expr::Loop(found) => self.looped(at, found),
        }
    }

    /// A dotted name that means one thing: `google.protobuf.Timestamp`, `authorizer.requestResource`.
    fn dotted(&self, node: &Node) -> Option<(String, Type)> {
        if !matches!(node.expr, Expr::Select(_)) {
            return None;
        }
        let name = Select::qualified(node)?;
        let root = name.split('.').next().unwrap_or_default();
        if self.locals.iter().any(|(local, _)| **local == *root) {
            return None;
        }
        if ["google.protobuf.Timestamp", "google.protobuf.Duration"].contains(&name.as_str()) {
            return Some((name, Type::Type));
        }
        let known = self.environment.variables.get(&name)?.clone();
        Some((name, known))
    }

    fn declared(&self, name: &str) -> Option<Type> {
        let mut locals = self.locals.iter().rev();
        if let Some((_, of)) = locals.find(|(known, _)| &**known == name) {
            return Some(of.clone());
        }
        self.environment.variables.get(name).cloned()
    }

    /// Lists and maps are of one type each, as Kubernetes asks of literals.
    fn aggregated(&mut self, at: u32, known: Option<Type>, found: Type) -> Type {
        match known {
            None => found,
            Some(known) if known.joins(&found) => {
                if known.is_dyn() || known == Type::Null {
                    found
                } else {
                    known
                }
            }
            Some(_) if self.is_mixed => Type::Dyn,
            Some(known) => self.fault(at, format!("expected type '{known}' but found '{found}'")),
        }
    }

    fn unwrapped(&mut self, found: &Type, is_optional: bool, at: u32) -> Type {
        match (is_optional, found) {
            (false, found) => found.clone(),
            (true, Type::Optional(value)) => (**value).clone(),
            (true, Type::Dyn) => Type::Dyn,
            (true, other) => {
                let message = format!("expected type 'optional_type(dyn)' but found '{other}'");
                self.fault(at, message)
            }
        }
    }

    fn expect(&mut self, node: &mut Node, wanted: &Type) {
        let found = self.check(node);
        if !wanted.joins(&found) {
            self.fault(
                node.at,
                format!("expected type '{wanted}' but found '{found}'"),
            );
        }
    }

    fn joined(&mut self, at: u32, a: Type, b: Type, function: &str) -> Type {
        if a == b {
            return a;
        }
        if !a.joins(&b) {
            let message = format!(
                "found no matching overload for '{function}' applied to '(bool, {a}, {b})'"
            );
            return self.fault(at, message);
        }
        match (a, b) {
            (Type::Null, other) | (other, Type::Null) => other,
            _ => Type::Dyn,
        }
    }

    fn lazy(&self, of: &Node) -> Option<&'e ObjectType> {
        let (name, object) = self.environment.lazy.as_ref()?;
        let Expr::Name(found) = &of.expr else {
            return None;
        };
        let is_shadowed = self.locals.iter().any(|(local, _)| local == found);
        (!is_shadowed && **found == **name).then_some(object)
    }

    fn select(&mut self, at: u32, select: &mut Select) -> Type {
        let of = match self.lazy(&select.of) {
            Some(object) => Type::Object(Arc::new(object.clone())),
            None => self.check(&mut select.of),
        };
        let found = self.field(at, &of, &select.field);
        if select.is_test {
            return Type::Bool;
        }
        let is_optional = select.is_optional || matches!(of, Type::Optional(_));
        match found {
            Type::Optional(_) if is_optional => found,
            found if is_optional => Type::optional(found),
            found => found,
        }
    }

    fn field(&mut self, at: u32, of: &Type, field: &str) -> Type {
        match of {
            Type::Optional(value) => self.field(at, value, field),
            Type::Object(object) => match object.fields.get(field) {
                Some(field) => field.value.clone(),
                None => self.fault(at, format!("undefined field '{field}'")),
            },
            Type::Map(map) => map.1.clone(),
            Type::Dyn | Type::Param(_) => Type::Dyn,
            other => self.fault(
                at,
                format!("type '{other}' does not support field selection"),
            ),
        }
    }

    fn index(&mut self, at: u32, index: &mut Index) -> Type {
        let (of, key) = (self.check(&mut index.of), self.check(&mut index.key));
        let (inner, was_optional) = match &of {
            Type::Optional(value) => ((**value).clone(), true),
            other => (other.clone(), false),
        };
        let found = match &inner {
            Type::List(list) if Type::Int.joins(&key) => list.element.clone(),
            Type::Map(map) if map.0.joins(&key) => map.1.clone(),
            Type::Dyn | Type::Param(_) => Type::Dyn,
            _ => {
                let name = if index.is_optional { "_[?_]" } else { "_[_]" };
                let message =
                    format!("found no matching overload for '{name}' applied to '({of}, {key})'");
                self.fault(at, message)
            }
        };
        if index.is_optional || was_optional {
            Type::optional(found)
        } else {
            found
        }
    }

    fn call(&mut self, at: u32, call: &mut Call) -> Type {
        self.resolve(call);
        let mut types = Vec::new();
        if let Some(target) = &mut call.target {
            types.push(self.check(target));
        }
        let was_mixed = self.is_mixed;
        self.is_mixed |= &*call.function == "format";
        for argument in &mut call.arguments {
            types.push(self.check(argument));
        }
        self.is_mixed = was_mixed;
        let is_member = call.target.is_some();
        let overloads = functions::overloads(&call.function);
        if overloads.is_empty() {
            return self.undeclared(at, &call.function.clone());
        }
        let mut results: Vec<Type> = Vec::new();
        for overload in overloads {
            if let Some(result) = applied(overload, is_member, &types)
                && !results.contains(&result)
            {
                results.push(result);
            }
        }
        self.compile_pattern(at, call);
        match results.len() {
            0 => {
                let message = no_overload(&call.function, is_member, &types);
                self.fault(at, message)
            }
            1 => results.remove(0),
            _ => Type::Dyn,
        }
    }

    /// `sets.contains(a, b)` is a function with a dotted name, unless `sets` is a variable.
    fn resolve(&self, call: &mut Call) {
        let Some(target) = &call.target else { return };
        let Some(namespace) = Select::qualified(target) else {
            return;
        };
        let root = namespace.split('.').next().unwrap_or_default();
        let name = format!("{namespace}.{}", call.function);
        if self.declared(root).is_none() && !functions::overloads(&name).is_empty() {
            call.function = name.into();
            call.target = None;
        }
    }

    /// A pattern that is written out has to be one.
    fn compile_pattern(&mut self, at: u32, call: &mut Call) {
        let place = match &*call.function {
            "matches" => usize::from(call.target.is_none()),
            "find" | "findAll" => 0,
            _ => return,
        };
        let Some(Expr::Literal(Literal::String(pattern))) =
            call.arguments.get(place).map(|argument| &argument.expr)
        else {
            return;
        };
        match functions::regex::compile(pattern) {
            Ok(pattern) => call.pattern = Some(Arc::new(pattern)),
            Err(why) => {
                self.fault(at, format!("invalid matches argument: {why}"));
            }
        }
    }

    fn looped(&mut self, at: u32, found: &mut Loop) -> Type {
        let range = self.check(&mut found.range);
        let (first, second) = match self.bindings(found, &range) {
            Ok(types) => types,
            Err(message) => {
                self.fault(found.range.at, message);
                (Type::Dyn, Type::Dyn)
            }
        };
        let n_locals = self.locals.len();
        self.locals.push((found.name.clone(), first.clone()));
        if let Some(name) = &found.second {
            self.locals.push((name.clone(), second));
        }
        if let Some(filter) = &mut found.filter {
            self.expect(filter, &Type::Bool);
        }
        let body = self.check(&mut found.body);
        self.locals.truncate(n_locals);
        self.loop_result(at, found, &range, body)
    }

    fn bindings(&self, found: &Loop, range: &Type) -> Result<(Type, Type), String> {
        let is_optional = matches!(found.what, Macro::OptMap | Macro::OptFlatMap);
        match range {
            Type::Dyn | Type::Param(_) => Ok((Type::Dyn, Type::Dyn)),
            Type::Optional(value) if is_optional => Ok(((**value).clone(), Type::Dyn)),
            Type::List(list) if found.second.is_some() => Ok((Type::Int, list.element.clone())),
            Type::List(list) => Ok((list.element.clone(), Type::Dyn)),
            Type::Map(map) => Ok((map.0.clone(), map.1.clone())),
            Type::Object(_) => Ok((Type::String, Type::Dyn)),
            other if is_optional => Err(format!(
                "found no matching overload for 'optMap' applied to '{other}'"
            )),
            other => Err(format!(
                "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
            )),
        }
    }

    fn loop_result(&mut self, at: u32, found: &Loop, range: &Type, body: Type) -> Type {
        let needs_bool = matches!(
            found.what,
            Macro::All | Macro::Exists | Macro::ExistsOne | Macro::Filter
        );
        if needs_bool && !Type::Bool.joins(&body) {
            let message = format!("expected type 'bool' but found '{body}'");
            return self.fault(found.body.at, message);
        }
        match (found.what, range) {
            (Macro::All | Macro::Exists | Macro::ExistsOne, _) => Type::Bool,
            (Macro::Filter, Type::List(list)) => Type::list(list.element.clone()),
            (Macro::Filter, Type::Map(map)) => Type::list(map.0.clone()),
            (Macro::Filter, _) => Type::list(Type::Dyn),
            (Macro::Map, _) => Type::list(body),
            (Macro::TransformMap, Type::Map(map)) => Type::map(map.0.clone(), body),
            (Macro::TransformMap, Type::List(_)) => Type::map(Type::Int, body),
            (Macro::TransformMap, _) => Type::map(Type::Dyn, body),
            (Macro::TransformMapEntry, _) => match body {
                Type::Map(_) | Type::Dyn => body,
                other => self.fault(
                    at,
                    format!("expected type 'map(dyn, dyn)' but found '{other}'"),
                ),
            },
            (Macro::OptMap, _) => Type::optional(body),
            (Macro::OptFlatMap, _) => body,
        }
    }
}

fn literal_type(literal: &Literal) -> Type {
    match literal {
        Literal::Null => Type::Null,
        Literal::Bool(_) => Type::Bool,
        Literal::Int(_) => Type::Int,
        Literal::Uint(_) => Type::Uint,
        Literal::Double(_) => Type::Double,
        Literal::String(_) => Type::String,
        Literal::Bytes(_) => Type::Bytes,
    }
}

/// The result of an overload for arguments of these types, the receiver first.
fn applied(overload: &Overload, is_member: bool, types: &[Type]) -> Option<Type> {
    if overload.is_member != is_member || overload.parameters.len() != types.len() {
        return None;
    }
    let mut bound = [None, None];
    let mut pairs = overload.parameters.iter().zip(types);
    pairs
        .all(|(parameter, found)| parameter.takes(found, &mut bound))
        .then(|| overload.result.bound(&bound))
}

fn no_overload(function: &str, is_member: bool, types: &[Type]) -> String {
    let spelled = |types: &[Type]| {
        let names: Vec<String> = types.iter().map(Type::to_string).collect();
        names.join(", ")
    };
    let applied = match types {
        [target, rest @ ..] if is_member => format!("{target}.({})", spelled(rest)),
        all => format!("({})", spelled(all)),
    };
    format!("found no matching overload for '{function}' applied to '{applied}'")
}
