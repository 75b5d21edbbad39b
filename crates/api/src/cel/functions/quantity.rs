//! Kubernetes' quantity library.

use std::cmp::Ordering;

use super::{Overload, global, member, unfit};
use crate::cel::error::EvalError;
use crate::cel::eval::Evaluated;
use crate::cel::value::Value;
use crate::quantity::{Format, Quantity};

pub(super) fn table() -> Vec<Overload> {
    let mut table = vec![
        global("quantity", "string", "quantity", |args, _| match args {
            [Value::String(text)] => {
                let parsed: Result<Quantity, _> = text.parse();
                parsed
                    .map(Value::Quantity)
                    .map_err(|why| EvalError::failed(why.to_string()))
            }
            _ => unfit(),
        }),
        global("isQuantity", "string", "bool", |args, _| match args {
            [Value::String(text)] => Ok(Value::Bool(text.parse::<Quantity>().is_ok())),
            _ => unfit(),
        }),
        member("sign", "quantity", "int", |args, _| match args {
            [Value::Quantity(value)] => Ok(Value::Int(i64::from(value.sign()))),
            _ => unfit(),
        }),
        member("isInteger", "quantity", "bool", |args, _| match args {
            [Value::Quantity(value)] => Ok(Value::Bool(integer(*value).is_some())),
            _ => unfit(),
        }),
        member("asInteger", "quantity", "int", |args, _| match args {
            [Value::Quantity(value)] => integer(*value)
                .map(Value::Int)
                .ok_or_else(|| EvalError::failed("cannot convert value to integer")),
            _ => unfit(),
        }),
        member(
            "asApproximateFloat",
            "quantity",
            "double",
            |args, _| match args {
                [Value::Quantity(value)] => Ok(Value::Double(value.approximate())),
                _ => unfit(),
            },
        ),
        member("compareTo", "quantity, quantity", "int", |args, _| {
            let order = order(args)?;
            Ok(Value::Int(order as i64))
        }),
        member("isLessThan", "quantity, quantity", "bool", |args, _| {
            Ok(Value::Bool(order(args)? == Ordering::Less))
        }),
        member("isGreaterThan", "quantity, quantity", "bool", |args, _| {
            Ok(Value::Bool(order(args)? == Ordering::Greater))
        }),
    ];
    for of in ["quantity", "int"] {
        let two = format!("quantity, {of}");
        table.push(member("add", &two, "quantity", |args, _| {
            combined(args, Quantity::plus)
        }));
        table.push(member("sub", &two, "quantity", |args, _| {
            combined(args, Quantity::minus)
        }));
    }
    table
}

fn integer(value: Quantity) -> Option<i64> {
    i64::try_from(value.value())
        .ok()
        .filter(|_| value.is_integer())
}

fn order(args: &[Value<'_>]) -> Result<Ordering, EvalError> {
    match args {
        [Value::Quantity(a), Value::Quantity(b)] => Ok(a.cmp(b)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn combined<'a>(args: &[Value<'a>], of: fn(Quantity, Quantity) -> Quantity) -> Evaluated<'a> {
    match args {
        [Value::Quantity(a), Value::Quantity(b)] => Ok(Value::Quantity(of(*a, *b))),
        [Value::Quantity(a), Value::Int(b)] => Ok(Value::Quantity(of(
            *a,
            Quantity::units(*b, Format::DecimalSi),
        ))),
        _ => unfit(),
    }
}
