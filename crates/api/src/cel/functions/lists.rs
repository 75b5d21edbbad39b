//! Kubernetes' list library.

use std::cmp::Ordering;

use super::operators::add;
use super::{Overload, Scope, member, unfit};
use crate::cel::error::EvalError;
use crate::cel::eval::Evaluated;
use crate::cel::value::{List, Value};

pub(super) fn table() -> Vec<Overload> {
    let mut table = vec![
        member("indexOf", "list(A), A", "int", |args, scope| {
            place(args, scope, false)
        }),
        member("lastIndexOf", "list(A), A", "int", |args, scope| {
            place(args, scope, true)
        }),
    ];
    for of in [
        "int",
        "uint",
        "double",
        "bool",
        "duration",
        "timestamp",
        "string",
        "bytes",
    ] {
        let list = format!("list({of})");
        table.push(member("isSorted", &list, "bool", is_sorted));
        table.push(member("min", &list, of, |args, scope| {
            extreme(args, scope, "min", Ordering::Less)
        }));
        table.push(member("max", &list, of, |args, scope| {
            extreme(args, scope, "max", Ordering::Greater)
        }));
    }
    for of in ["int", "uint", "double", "duration"] {
        table.push(member("sum", &format!("list({of})"), of, sum));
    }
    table
}

fn charged<'v, 'a>(
    args: &'v [Value<'a>],
    scope: &mut Scope<'_>,
) -> Result<&'v List<'a>, EvalError> {
    match args.first() {
        Some(Value::List(list)) => {
            let weight: u64 = list.iter().map(|value| value.weight()).sum();
            scope.budget.charge(list.len() as u64)?;
            scope.budget.charge_tenths(weight)?;
            Ok(list)
        }
        _ => Err(EvalError::no_such_overload()),
    }
}

fn is_sorted<'a>(args: &[Value<'a>], scope: &mut Scope<'_>) -> Evaluated<'a> {
    let list = charged(args, scope)?;
    let mut before: Option<Value<'a>> = None;
    for value in list.iter() {
        if let Some(before) = &before {
            let order = before
                .order(&value)
                .ok_or_else(EvalError::no_such_overload)?;
            if order == Ordering::Greater {
                return Ok(Value::Bool(false));
            }
        }
        before = Some(value);
    }
    Ok(Value::Bool(true))
}

fn extreme<'a>(
    args: &[Value<'a>],
    scope: &mut Scope<'_>,
    name: &str,
    wanted: Ordering,
) -> Evaluated<'a> {
    let list = charged(args, scope)?;
    let mut best: Option<Value<'a>> = None;
    for value in list.iter() {
        let is_better = match &best {
            None => true,
            Some(best) => value.order(best).ok_or_else(EvalError::no_such_overload)? == wanted,
        };
        if is_better {
            best = Some(value);
        }
    }
    best.ok_or_else(|| EvalError::failed(format!("{name} called on empty list")))
}

/// The sum of none is the zero of integers: of what else, an empty list does not tell.
fn sum<'a>(args: &[Value<'a>], scope: &mut Scope<'_>) -> Evaluated<'a> {
    let list = charged(args, scope)?;
    let mut total: Option<Value<'a>> = None;
    for value in list.iter() {
        total = Some(match total {
            None => value,
            Some(total) => add(&[total, value], scope)?,
        });
    }
    Ok(total.unwrap_or(Value::Int(0)))
}

fn place<'a>(args: &[Value<'a>], scope: &mut Scope<'_>, from_end: bool) -> Evaluated<'a> {
    let [Value::List(list), wanted] = args else {
        return unfit();
    };
    for i in 0..list.len() {
        let i = if from_end { list.len() - 1 - i } else { i };
        if let Some(value) = list.get(i)
            && value.equals(wanted, scope.budget)?
        {
            return Ok(Value::Int(i as i64));
        }
    }
    Ok(Value::Int(-1))
}
