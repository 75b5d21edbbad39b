//! Optional values.

use super::{Overload, global, member, unfit};
use crate::cel::error::EvalError;
use crate::cel::value::Value;

pub(super) fn table() -> Vec<Overload> {
    vec![
        global("optional.of", "A", "optional(A)", |args, _| {
            Ok(Value::some(args[0].clone()))
        }),
        global("optional.none", "", "optional(dyn)", |_, _| {
            Ok(Value::Optional(None))
        }),
        global("optional.ofNonZeroValue", "A", "optional(A)", |args, _| {
            Ok(Value::optional(
                (!is_zero(&args[0])).then(|| args[0].clone()),
            ))
        }),
        member("hasValue", "optional(A)", "bool", |args, _| match args {
            [Value::Optional(value)] => Ok(Value::Bool(value.is_some())),
            _ => unfit(),
        }),
        member("value", "optional(A)", "A", |args, _| match args {
            [Value::Optional(Some(value))] => Ok((**value).clone()),
            _ => Err(EvalError::failed("optional.none() dereference")),
        }),
        member(
            "or",
            "optional(A), optional(A)",
            "optional(A)",
            |args, _| match args {
                [Value::Optional(None), other] => Ok(other.clone()),
                [found, _] => Ok(found.clone()),
                _ => unfit(),
            },
        ),
        member("orValue", "optional(A), A", "A", |args, _| match args {
            [Value::Optional(Some(value)), _] => Ok((**value).clone()),
            [_, other] => Ok(other.clone()),
            _ => unfit(),
        }),
    ]
}

fn is_zero(value: &Value<'_>) -> bool {
    match value {
        Value::Null | Value::Optional(None) => true,
        Value::Bool(value) => !value,
        Value::Int(value) => *value == 0,
        Value::Uint(value) => *value == 0,
        Value::Double(value) => *value == 0.0,
        Value::String(text) => text.is_empty(),
        Value::Bytes(bytes) => bytes.is_empty(),
        Value::List(list) => list.is_empty(),
        Value::Map(map) => map.is_empty(),
        Value::Duration(span) => span.is_zero(),
        _ => false,
    }
}
