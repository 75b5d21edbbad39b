//! Conversions between types.

use chrono::{DateTime, Utc};

use super::time::{parse_duration, shown_duration, shown_timestamp};
use super::{Overload, Scope, global, unfit};
use crate::cel::error::EvalError;
use crate::cel::eval::Evaluated;
use crate::cel::value::Value;

pub(super) fn table() -> Vec<Overload> {
    let mut table = vec![
        global("dyn", "A", "dyn", |args, _| Ok(args[0].clone())),
        global("type", "A", "type", |args, _| {
            Ok(Value::Type(args[0].type_name().into()))
        }),
        global("bytes", "string", "bytes", |args, scope| match args {
            [Value::String(text)] => {
                super::read(scope, text)?;
                Ok(Value::Bytes(text.as_bytes().into()))
            }
            _ => unfit(),
        }),
        global("bytes", "bytes", "bytes", |args, _| Ok(args[0].clone())),
    ];
    let numbers = ["int", "uint", "double", "string"];
    for from in numbers.iter().chain(&["timestamp"]) {
        table.push(global("int", from, "int", to_int));
    }
    for from in numbers {
        table.push(global("uint", from, "uint", to_uint));
        table.push(global("double", from, "double", to_double));
    }
    for from in [
        "string",
        "int",
        "uint",
        "double",
        "bool",
        "bytes",
        "timestamp",
        "duration",
        "ip",
        "cidr",
    ] {
        table.push(global("string", from, "string", to_string));
    }
    for from in ["bool", "string"] {
        table.push(global("bool", from, "bool", to_bool));
    }
    for from in ["string", "int", "timestamp"] {
        table.push(global("timestamp", from, "timestamp", to_timestamp));
    }
    for from in ["string", "int", "duration"] {
        table.push(global("duration", from, "duration", to_duration));
    }
    table
}

fn range_error<'a>() -> Evaluated<'a> {
    Err(EvalError::failed("range error"))
}

fn to_int<'a>(args: &[Value<'a>], _: &mut Scope<'_>) -> Evaluated<'a> {
    match args {
        [Value::Int(value)] => Ok(Value::Int(*value)),
        [Value::Uint(value)] => {
            i64::try_from(*value).map_or_else(|_| range_error(), |v| Ok(Value::Int(v)))
        }
        // The bounds themselves are not exact as doubles.
        [Value::Double(value)] if value.abs() < 9.223_372_036_854_775e18 => {
            Ok(Value::Int(*value as i64))
        }
        [Value::Double(_)] => range_error(),
        [Value::String(text)] => text
            .parse()
            .map(Value::Int)
            .map_err(|_| unparsable(text, "int")),
        [Value::Timestamp(at)] => Ok(Value::Int(at.timestamp())),
        _ => unfit(),
    }
}

fn to_uint<'a>(args: &[Value<'a>], _: &mut Scope<'_>) -> Evaluated<'a> {
    match args {
        [Value::Uint(value)] => Ok(Value::Uint(*value)),
        [Value::Int(value)] => {
            u64::try_from(*value).map_or_else(|_| range_error(), |v| Ok(Value::Uint(v)))
        }
        [Value::Double(value)] if *value >= 0.0 && *value < 1.844_674_407_370_955e19 => {
            Ok(Value::Uint(*value as u64))
        }
        [Value::Double(_)] => range_error(),
        [Value::String(text)] => text
            .parse()
            .map(Value::Uint)
            .map_err(|_| unparsable(text, "uint")),
        _ => unfit(),
    }
}

fn to_double<'a>(args: &[Value<'a>], _: &mut Scope<'_>) -> Evaluated<'a> {
    match args {
        [Value::Double(value)] => Ok(Value::Double(*value)),
        [Value::Int(value)] => Ok(Value::Double(*value as f64)),
        [Value::Uint(value)] => Ok(Value::Double(*value as f64)),
        [Value::String(text)] => text
            .parse()
            .map(Value::Double)
            .map_err(|_| unparsable(text, "double")),
        _ => unfit(),
    }
}

fn unparsable(text: &str, of: &str) -> EvalError {
    EvalError::failed(format!(
        "type conversion error from 'string' to '{of}': {text:?}"
    ))
}

fn to_bool<'a>(args: &[Value<'a>], _: &mut Scope<'_>) -> Evaluated<'a> {
    match args {
        [Value::Bool(value)] => Ok(Value::Bool(*value)),
        [Value::String(text)] => match text.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            other => Err(unparsable(other, "bool")),
        },
        _ => unfit(),
    }
}

/// A double as Go writes it shortest.
pub(super) fn shown_double(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let exponent = value.abs().log10().floor();
    if value != 0.0 && !(-5.0..21.0).contains(&exponent) {
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, magnitude) = match exponent.strip_prefix('-') {
            Some(magnitude) => ('-', magnitude),
            None => ('+', exponent),
        };
        return format!("{digits}e{sign}{magnitude:0>2}");
    }
    value.to_string()
}

fn to_string<'a>(args: &[Value<'a>], scope: &mut Scope<'_>) -> Evaluated<'a> {
    Ok(Value::text(match args {
        [text @ Value::String(_)] => return Ok(text.clone()),
        [Value::Int(value)] => value.to_string(),
        [Value::Uint(value)] => value.to_string(),
        [Value::Double(value)] => shown_double(*value),
        [Value::Bool(value)] => value.to_string(),
        [Value::Bytes(bytes)] => {
            scope.budget.charge_tenths(bytes.len() as u64)?;
            let text = std::str::from_utf8(bytes);
            text.map_err(|_| EvalError::failed("invalid UTF-8 in bytes, cannot convert to string"))?
                .to_owned()
        }
        [Value::Timestamp(at)] => shown_timestamp(at),
        [Value::Duration(span)] => shown_duration(*span),
        [Value::Ip(ip)] => ip.to_string(),
        [Value::Cidr(cidr)] => format!("{}/{}", cidr.ip, cidr.prefix),
        _ => return unfit(),
    }))
}

fn to_timestamp<'a>(args: &[Value<'a>], _: &mut Scope<'_>) -> Evaluated<'a> {
    match args {
        [at @ Value::Timestamp(_)] => Ok(at.clone()),
        [Value::Int(seconds)] => DateTime::from_timestamp(*seconds, 0)
            .map(Value::Timestamp)
            .ok_or_else(|| EvalError::failed("range error")),
        [Value::String(text)] => DateTime::parse_from_rfc3339(text)
            .map(|at| Value::Timestamp(at.with_timezone(&Utc)))
            .map_err(|_| unparsable(text, "google.protobuf.Timestamp")),
        _ => unfit(),
    }
}

fn to_duration<'a>(args: &[Value<'a>], _: &mut Scope<'_>) -> Evaluated<'a> {
    match args {
        [span @ Value::Duration(_)] => Ok(span.clone()),
        [Value::Int(seconds)] => chrono::TimeDelta::try_seconds(*seconds)
            .map(Value::Duration)
            .ok_or_else(|| EvalError::failed("range error")),
        [Value::String(text)] => parse_duration(text)
            .map(Value::Duration)
            .ok_or_else(|| unparsable(text, "google.protobuf.Duration")),
        _ => unfit(),
    }
}
