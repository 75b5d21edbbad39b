//! cel-go's set library, over lists.

use super::{Overload, Scope, global, unfit};
use crate::cel::error::EvalError;
use crate::cel::value::{List, Value};

pub(super) fn table() -> Vec<Overload> {
    vec![
        global(
            "sets.contains",
            "list(A), list(A)",
            "bool",
            |args, scope| {
                let (a, b) = both(args)?;
                Ok(Value::Bool(covers(a, b, scope)?))
            },
        ),
        global(
            "sets.equivalent",
            "list(A), list(A)",
            "bool",
            |args, scope| {
                let (a, b) = both(args)?;
                Ok(Value::Bool(covers(a, b, scope)? && covers(b, a, scope)?))
            },
        ),
        global(
            "sets.intersects",
            "list(A), list(A)",
            "bool",
            |args, scope| {
                let [Value::List(a), Value::List(b)] = args else {
                    return unfit();
                };
                for value in b.iter() {
                    if a.has(&value, scope.budget)? {
                        return Ok(Value::Bool(true));
                    }
                }
                Ok(Value::Bool(false))
            },
        ),
    ]
}

fn both<'v, 'a>(args: &'v [Value<'a>]) -> Result<(&'v List<'a>, &'v List<'a>), EvalError> {
    match args {
        [Value::List(a), Value::List(b)] => Ok((a, b)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn covers(a: &List<'_>, b: &List<'_>, scope: &mut Scope<'_>) -> Result<bool, EvalError> {
    for value in b.iter() {
        if !a.has(&value, scope.budget)? {
            return Ok(false);
        }
    }
    Ok(true)
}
