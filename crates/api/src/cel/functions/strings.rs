//! Text as the language itself knows it.

use super::{Overload, Scope, global, member, read, unfit};
use crate::cel::error::EvalError;
use crate::cel::eval::Evaluated;
use crate::cel::value::Value;

pub(super) fn table() -> Vec<Overload> {
    vec![
        member("contains", "string, string", "bool", |args, scope| {
            two(args, scope, |text, part| text.contains(part))
        }),
        member("startsWith", "string, string", "bool", |args, scope| {
            two(args, scope, |text, part| text.starts_with(part))
        }),
        member("endsWith", "string, string", "bool", |args, scope| {
            two(args, scope, |text, part| text.ends_with(part))
        }),
        member("matches", "string, string", "bool", matches),
        global("matches", "string, string", "bool", matches),
    ]
}

fn two<'a>(
    args: &[Value<'a>],
    scope: &mut Scope<'_>,
    holds: fn(&str, &str) -> bool,
) -> Evaluated<'a> {
    match args {
        [Value::String(text), Value::String(part)] => {
            read(scope, text)?;
            Ok(Value::Bool(holds(text, part)))
        }
        _ => unfit(),
    }
}

fn matches<'a>(args: &[Value<'a>], scope: &mut Scope<'_>) -> Evaluated<'a> {
    match args {
        [Value::String(text), Value::String(pattern)] => {
            let is_match =
                super::regex::with(scope, text, pattern, |pattern| pattern.is_match(text))?;
            Ok::<_, EvalError>(Value::Bool(is_match))
        }
        _ => unfit(),
    }
}
