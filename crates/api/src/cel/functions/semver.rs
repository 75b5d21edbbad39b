//! Kubernetes' library of versions.

use std::cmp::Ordering;
use std::sync::Arc;

use super::{Overload, global, member, unfit};
use crate::cel::error::EvalError;
use crate::cel::eval::Evaluated;
use crate::cel::value::Value;
use crate::semver::Version;

pub(super) fn table() -> Vec<Overload> {
    let mut table = Vec::new();
    for arguments in ["string", "string, bool"] {
        table.push(global("semver", arguments, "semver", |args, _| {
            let version = parsed(args)?.map_err(EvalError::failed)?;
            Ok(Value::Semver(Arc::new(version)))
        }));
        table.push(global("isSemver", arguments, "bool", |args, _| {
            Ok(Value::Bool(parsed(args)?.is_ok()))
        }));
    }
    table.extend([
        member("major", "semver", "int", |args, _| number(args, 0)),
        member("minor", "semver", "int", |args, _| number(args, 1)),
        member("patch", "semver", "int", |args, _| number(args, 2)),
        member("compareTo", "semver, semver", "int", |args, _| {
            Ok(Value::Int(order(args)? as i64))
        }),
        member("isLessThan", "semver, semver", "bool", |args, _| {
            Ok(Value::Bool(order(args)? == Ordering::Less))
        }),
        member("isGreaterThan", "semver, semver", "bool", |args, _| {
            Ok(Value::Bool(order(args)? == Ordering::Greater))
        }),
    ]);
    table
}

/// With a second argument that is true, what is not quite in form is brought into it.
fn parsed(args: &[Value<'_>]) -> Result<Result<Version, String>, EvalError> {
    match args {
        [Value::String(text)] | [Value::String(text), Value::Bool(false)] => {
            Ok(Version::parse(text.as_str()))
        }
        [Value::String(text), Value::Bool(true)] => Ok(Version::parse_tolerantly(text.as_str())),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn number<'a>(args: &[Value<'a>], idx: usize) -> Evaluated<'a> {
    match args {
        [Value::Semver(version)] => i64::try_from(version.numbers[idx])
            .map(Value::Int)
            .map_err(|_| EvalError::failed("integer overflow")),
        _ => unfit(),
    }
}

fn order(args: &[Value<'_>]) -> Result<Ordering, EvalError> {
    match args {
        [Value::Semver(a), Value::Semver(b)] => Ok(a.cmp(b)),
        _ => Err(EvalError::no_such_overload()),
    }
}
