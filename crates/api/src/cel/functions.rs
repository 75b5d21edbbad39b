//! The functions of expressions: one line each, with its signature, in the file of its library. The checker and the
//! evaluator read the same table.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use ::regex::Regex;

use super::ast::Call;
use super::budget::Budget;
use super::error::EvalError;
use super::eval::Evaluated;
use super::types::Type;
use super::value::Value;

mod authz;
mod conversions;
mod extended_strings;
mod format;
mod lists;
mod named_formats;
mod net;
mod operators;
mod optional;
mod quantity;
pub(super) mod regex;
mod semver;
mod sets;
mod strings;
pub(super) mod time;
mod url;

/// What a function may use besides its arguments.
pub(super) struct Scope<'b> {
    pub(super) budget: &'b mut Budget,
    /// The pattern, when it was written out.
    pub(super) pattern: Option<&'b Regex>,
}

type Run = for<'a> fn(&[Value<'a>], &mut Scope<'_>) -> Evaluated<'a>;

/// A function for arguments of certain types, the receiver first.
pub(super) struct Overload {
    name: &'static str,
    pub(super) is_member: bool,
    pub(super) parameters: Vec<Type>,
    pub(super) result: Type,
    run: Run,
}

/// `name(parameters) -> result`
fn global(name: &'static str, parameters: &str, result: &str, run: Run) -> Overload {
    Overload {
        name,
        is_member: false,
        parameters: types(parameters),
        result: one_type(result),
        run,
    }
}

/// `first.name(others) -> result`
fn member(name: &'static str, parameters: &str, result: &str, run: Run) -> Overload {
    Overload {
        is_member: true,
        ..global(name, parameters, result, run)
    }
}

static TABLE: LazyLock<BTreeMap<&'static str, Vec<Overload>>> = LazyLock::new(|| {
    let libraries = [
        operators::table(),
        conversions::table(),
        strings::table(),
        extended_strings::table(),
        lists::table(),
        regex::table(),
        url::table(),
        net::table(),
        quantity::table(),
        named_formats::table(),
        semver::table(),
        sets::table(),
        optional::table(),
        time::table(),
        authz::table(),
    ];
    let mut table: BTreeMap<&'static str, Vec<Overload>> = BTreeMap::new();
    for overload in libraries.into_iter().flatten() {
        table.entry(overload.name).or_default().push(overload);
    }
    table
});

/// All of this name.
pub(super) fn overloads(name: &str) -> &'static [Overload] {
    TABLE.get(name).map_or(&[], Vec::as_slice)
}

/// Runs the overload that fits the values.
pub(super) fn run<'a>(call: &Call, arguments: &[Value<'a>], budget: &mut Budget) -> Evaluated<'a> {
    let is_member = call.target.is_some();
    let fits = |overload: &&Overload| {
        overload.is_member == is_member
            && overload.parameters.len() == arguments.len()
            && arguments
                .iter()
                .zip(&overload.parameters)
                .all(|(value, wanted)| value.is(wanted))
    };
    let Some(overload) = overloads(&call.function).iter().find(fits) else {
        return Err(EvalError::no_such_overload());
    };
    let mut scope = Scope {
        budget,
        pattern: call.pattern.as_deref(),
    };
    (overload.run)(arguments, &mut scope)
}

/// Types as the tables spell them, by commas.
fn types(text: &str) -> Vec<Type> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (i, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    if !text.is_empty() {
        parts.push(&text[start..]);
    }
    parts
        .into_iter()
        .map(|part| one_type(part.trim()))
        .collect()
}

fn one_type(text: &str) -> Type {
    if let Some((name, inner)) = text.strip_suffix(')').and_then(|text| text.split_once('(')) {
        let mut inner = types(inner).into_iter();
        let mut next = || inner.next().unwrap_or(Type::Dyn);
        return match name {
            "list" => Type::list(next()),
            "map" => Type::map(next(), next()),
            _ => Type::optional(next()),
        };
    }
    match text {
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "timestamp" => Type::Timestamp,
        "duration" => Type::Duration,
        "null" => Type::Null,
        "type" => Type::Type,
        "A" => Type::Param(0),
        "B" => Type::Param(1),
        "url" => Type::Opaque("kubernetes.URL"),
        "ip" => Type::Opaque("net.IP"),
        "cidr" => Type::Opaque("net.CIDR"),
        "quantity" => Type::Opaque("kubernetes.Quantity"),
        "semver" => Type::Opaque("kubernetes.Semver"),
        "format" => Type::Opaque("kubernetes.NamedFormat"),
        "authorizer" => Type::Opaque("kubernetes.authorization.Authorizer"),
        "path" => Type::Opaque("kubernetes.authorization.PathCheck"),
        "group" => Type::Opaque("kubernetes.authorization.GroupCheck"),
        "resource" => Type::Opaque("kubernetes.authorization.ResourceCheck"),
        "decision" => Type::Opaque("kubernetes.authorization.Decision"),
        _ => Type::Dyn,
    }
}

/// What every function says of arguments that its signature should have kept away.
fn unfit<'a>() -> Evaluated<'a> {
    Err(EvalError::no_such_overload())
}

/// Spends the cost of reading a text.
fn read(scope: &mut Scope<'_>, text: &str) -> Result<(), EvalError> {
    scope.budget.charge_tenths(text.len() as u64)
}
