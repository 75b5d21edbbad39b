//! Arithmetic, comparisons, `in`, `size`.

use std::cmp::Ordering;

use super::{Overload, Scope, global, member, unfit};
use crate::cel::error::EvalError;
use crate::cel::eval::Evaluated;
use crate::cel::value::Value;

pub(super) fn table() -> Vec<Overload> {
    let mut table = vec![
        global("_==_", "A, A", "bool", |args, scope| {
            Ok(Value::Bool(args[0].equals(&args[1], scope.budget)?))
        }),
        global("_!=_", "A, A", "bool", |args, scope| {
            Ok(Value::Bool(!args[0].equals(&args[1], scope.budget)?))
        }),
        global("!_", "bool", "bool", |args, _| match args {
            [Value::Bool(value)] => Ok(Value::Bool(!value)),
            _ => unfit(),
        }),
        global("-_", "int", "int", |args, _| match args {
            [Value::Int(value)] => value.checked_neg().map(Value::Int).ok_or_else(overflow),
            _ => unfit(),
        }),
        global("-_", "double", "double", |args, _| match args {
            [Value::Double(value)] => Ok(Value::Double(-value)),
            _ => unfit(),
        }),
        global("@in", "A, list(A)", "bool", is_in),
        global("@in", "A, map(A, B)", "bool", is_in),
        global("_+_", "timestamp, duration", "timestamp", add),
        global("_+_", "duration, timestamp", "timestamp", add),
        global("_-_", "timestamp, timestamp", "duration", subtract),
        global("_-_", "timestamp, duration", "timestamp", subtract),
        global("_-_", "duration, duration", "duration", subtract),
        global("_%_", "int, int", "int", modulo),
        global("_%_", "uint, uint", "uint", modulo),
    ];
    for of in ["int", "uint", "double"] {
        let two = format!("{of}, {of}");
        table.push(global("_-_", &two, of, subtract));
        table.push(global("_*_", &two, of, multiply));
        table.push(global("_/_", &two, of, divide));
    }
    for of in [
        "int", "uint", "double", "string", "bytes", "duration", "list(A)",
    ] {
        table.push(global("_+_", &format!("{of}, {of}"), of, add));
    }
    comparisons(&mut table);
    for of in ["string", "bytes", "list(A)", "map(A, B)"] {
        table.push(global("size", of, "int", size));
        table.push(member("size", of, "int", size));
    }
    table
}

fn comparisons(table: &mut Vec<Overload>) {
    let numbers = ["int", "uint", "double"];
    let mut pairs: Vec<String> = ["bool", "string", "bytes", "timestamp", "duration"]
        .iter()
        .map(|of| format!("{of}, {of}"))
        .collect();
    for a in numbers {
        pairs.extend(numbers.iter().map(|b| format!("{a}, {b}")));
    }
    for pair in pairs {
        table.push(global("_<_", &pair, "bool", |args, scope| {
            compared(args, scope, |order| order == Ordering::Less)
        }));
        table.push(global("_<=_", &pair, "bool", |args, scope| {
            compared(args, scope, |order| order != Ordering::Greater)
        }));
        table.push(global("_>_", &pair, "bool", |args, scope| {
            compared(args, scope, |order| order == Ordering::Greater)
        }));
        table.push(global("_>=_", &pair, "bool", |args, scope| {
            compared(args, scope, |order| order != Ordering::Less)
        }));
    }
}

fn compared<'a>(
    args: &[Value<'a>],
    scope: &mut Scope<'_>,
    holds: fn(Ordering) -> bool,
) -> Evaluated<'a> {
    let [a, b] = args else { return unfit() };
    scope.budget.charge_tenths(a.weight().min(b.weight()))?;
    // Nothing is less or greater than what is no number.
    Ok(Value::Bool(a.order(b).is_some_and(holds)))
}

fn is_in<'a>(args: &[Value<'a>], scope: &mut Scope<'_>) -> Evaluated<'a> {
    match args {
        [value, Value::List(list)] => Ok(Value::Bool(list.has(value, scope.budget)?)),
        [key, Value::Map(map)] => Ok(Value::Bool(map.get(key, scope.budget)?.is_some())),
        _ => unfit(),
    }
}

fn size<'a>(args: &[Value<'a>], scope: &mut Scope<'_>) -> Evaluated<'a> {
    let n = match args {
        [Value::String(text)] => {
            super::read(scope, text)?;
            text.chars().count()
        }
        [Value::Bytes(bytes)] => bytes.len(),
        [Value::List(list)] => list.len(),
        [Value::Map(map)] => map.len(),
        _ => return unfit(),
    };
    Ok(Value::Int(n as i64))
}

fn overflow() -> EvalError {
    EvalError::failed("integer overflow")
}

fn span_overflow() -> EvalError {
    EvalError::failed("duration overflow")
}

pub(super) fn add<'a>(args: &[Value<'a>], scope: &mut Scope<'_>) -> Evaluated<'a> {
    let [a, b] = args else { return unfit() };
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => a.checked_add(*b).map(Value::Int).ok_or_else(overflow),
        (Value::Uint(a), Value::Uint(b)) => a.checked_add(*b).map(Value::Uint).ok_or_else(overflow),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a + b)),
        (Value::String(a), Value::String(b)) => {
            scope.budget.charge_tenths((a.len() + b.len()) as u64)?;
            Ok(Value::text(format!("{}{}", a.as_str(), b.as_str())))
        }
        (Value::Bytes(a), Value::Bytes(b)) => {
            scope.budget.charge_tenths((a.len() + b.len()) as u64)?;
            Ok(Value::Bytes([&**a, &**b].concat().into()))
        }
        (Value::List(a), Value::List(b)) => join_lists(a, b, scope),
        (Value::Duration(a), Value::Duration(b)) => a
            .checked_add(b)
            .map(Value::Duration)
            .ok_or_else(span_overflow),
        (Value::Timestamp(at), Value::Duration(span))
        | (Value::Duration(span), Value::Timestamp(at)) => at
            .checked_add_signed(*span)
            .map(Value::Timestamp)
            .ok_or_else(|| EvalError::failed("timestamp overflow")),
        _ => unfit(),
    }
}

/// A set takes in only what it has not; a list by keys lets the later element replace the earlier one in its place.
fn join_lists<'a>(
    a: &crate::cel::value::List<'a>,
    b: &crate::cel::value::List<'a>,
    scope: &mut Scope<'_>,
) -> Evaluated<'a> {
    use crate::cel::types::ListSemantics;
    scope.budget.charge((a.len() + b.len()) as u64)?;
    let mut joined: Vec<Value<'a>> = a.iter().collect();
    match a.schema().map(|of| &of.semantics) {
        None | Some(ListSemantics::Atomic) => joined.extend(b.iter()),
        Some(ListSemantics::Set) => {
            for value in b.iter() {
                if !a.has(&value, scope.budget)? {
                    joined.push(value);
                }
            }
        }
        Some(ListSemantics::Map(keys)) => {
            for value in b.iter() {
                let mut place = None;
                for (i, known) in joined.iter().enumerate() {
                    if same_keys(keys, known, &value, scope)? {
                        place = Some(i);
                        break;
                    }
                }
                match place {
                    Some(i) => joined[i] = value,
                    None => joined.push(value),
                }
            }
        }
    }
    Ok(Value::list(joined))
}

fn same_keys(
    keys: &[String],
    a: &Value<'_>,
    b: &Value<'_>,
    scope: &mut Scope<'_>,
) -> Result<bool, EvalError> {
    let (Value::Map(a), Value::Map(b)) = (a, b) else {
        return Ok(false);
    };
    for key in keys {
        let key = Value::text(key.as_str());
        let (a, b) = (a.get(&key, scope.budget)?, b.get(&key, scope.budget)?);
        let same = match (a, b) {
            (Some(a), Some(b)) => a.equals(&b, scope.budget)?,
            (None, None) => true,
            _ => false,
        };
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}

fn subtract<'a>(args: &[Value<'a>], _: &mut Scope<'_>) -> Evaluated<'a> {
    match args {
        [Value::Int(a), Value::Int(b)] => a.checked_sub(*b).map(Value::Int).ok_or_else(overflow),
        [Value::Uint(a), Value::Uint(b)] => a.checked_sub(*b).map(Value::Uint).ok_or_else(overflow),
        [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a - b)),
        [Value::Duration(a), Value::Duration(b)] => a
            .checked_sub(b)
            .map(Value::Duration)
            .ok_or_else(span_overflow),
        [Value::Timestamp(a), Value::Timestamp(b)] => Ok(Value::Duration(*a - *b)),
        [Value::Timestamp(at), Value::Duration(span)] => at
            .checked_sub_signed(*span)
            .map(Value::Timestamp)
            .ok_or_else(|| EvalError::failed("timestamp overflow")),
        _ => unfit(),
    }
}

fn multiply<'a>(args: &[Value<'a>], _: &mut Scope<'_>) -> Evaluated<'a> {
    match args {
        [Value::Int(a), Value::Int(b)] => a.checked_mul(*b).map(Value::Int).ok_or_else(overflow),
        [Value::Uint(a), Value::Uint(b)] => a.checked_mul(*b).map(Value::Uint).ok_or_else(overflow),
        [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a * b)),
        _ => unfit(),
    }
}

fn divide<'a>(args: &[Value<'a>], _: &mut Scope<'_>) -> Evaluated<'a> {
    match args {
        [Value::Int(_), Value::Int(0)] | [Value::Uint(_), Value::Uint(0)] => {
            Err(EvalError::failed("division by zero"))
        }
        [Value::Int(a), Value::Int(b)] => a.checked_div(*b).map(Value::Int).ok_or_else(overflow),
        [Value::Uint(a), Value::Uint(b)] => Ok(Value::Uint(a / b)),
        [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a / b)),
        _ => unfit(),
    }
}

fn modulo<'a>(args: &[Value<'a>], _: &mut Scope<'_>) -> Evaluated<'a> {
    match args {
        [Value::Int(_), Value::Int(0)] | [Value::Uint(_), Value::Uint(0)] => {
            Err(EvalError::failed("modulus by zero"))
        }
        [Value::Int(a), Value::Int(b)] => a.checked_rem(*b).map(Value::Int).ok_or_else(overflow),
        [Value::Uint(a), Value::Uint(b)] => Ok(Value::Uint(a % b)),
        _ => unfit(),
    }
}
