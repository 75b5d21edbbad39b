//! Regular expressions of RE2's syntax. The engine's work is linear in the text, and its programs are bounded.

use ::regex::{Regex, RegexBuilder};

use super::{Overload, Scope, member, unfit};
use crate::cel::error::EvalError;
use crate::cel::eval::Evaluated;
use crate::cel::value::Value;

/// A compiled pattern's largest size.
const MAX_PROGRAM_BYTES: usize = 1024 * 1024;

pub(super) fn table() -> Vec<Overload> {
    vec![
        member("find", "string, string", "string", find),
        member("findAll", "string, string", "list(string)", find_all),
        member("findAll", "string, string, int", "list(string)", find_all),
    ]
}

/// Compiles a pattern.
pub(in crate::cel) fn compile(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern)
        .size_limit(MAX_PROGRAM_BYTES)
        .dfa_size_limit(MAX_PROGRAM_BYTES)
        .build()
        .map_err(|why| {
            let why = why.to_string();
            let last = why.lines().last().unwrap_or_default();
            let last = last.trim_start_matches("error: ");
            format!("error parsing regexp: {last}: `{pattern}`")
        })
}

/// Works with a pattern on a text, at upstream's price: the one's length times the other's.
pub(super) fn with<T>(
    scope: &mut Scope<'_>,
    text: &str,
    pattern: &str,
    work: impl FnOnce(&Regex) -> T,
) -> Result<T, EvalError> {
    let text_units = (text.len() as u64 + 1).div_ceil(10);
    let pattern_units = (pattern.len() as u64).div_ceil(4);
    scope
        .budget
        .charge(text_units.saturating_mul(pattern_units))?;
    if let Some(pattern) = scope.pattern {
        return Ok(work(pattern));
    }
    // Compiling takes far longer than reading.
    scope.budget.charge(pattern.len() as u64 * 10)?;
    let pattern = compile(pattern).map_err(EvalError::Failed)?;
    Ok(work(&pattern))
}

fn find<'a>(args: &[Value<'a>], scope: &mut Scope<'_>) -> Evaluated<'a> {
    let [Value::String(text), Value::String(pattern)] = args else {
        return unfit();
    };
    let found = with(scope, text, pattern, |pattern| {
        let found = pattern.find(text);
        found.map_or_else(String::new, |found| found.as_str().to_owned())
    })?;
    Ok(Value::text(found))
}

fn find_all<'a>(args: &[Value<'a>], scope: &mut Scope<'_>) -> Evaluated<'a> {
    let (text, pattern, limit) = match args {
        [Value::String(text), Value::String(pattern)] => (text, pattern, -1),
        [
            Value::String(text),
            Value::String(pattern),
            Value::Int(limit),
        ] => (text, pattern, *limit),
        _ => return unfit(),
    };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    scope.budget.charge(text.len() as u64 / 8)?;
    let found: Vec<Value<'a>> = with(scope, text, pattern, |pattern| {
        let found = pattern.find_iter(text).take(limit);
        found
            .map(|found| Value::text(found.as_str().to_owned()))
            .collect()
    })?;
    Ok(Value::list(found))
}
