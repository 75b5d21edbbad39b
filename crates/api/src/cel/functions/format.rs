//! `'%s is %d'.format([a, b])`.

use std::fmt::Write as _;

use super::conversions::shown_double;
use super::time::{shown_duration, shown_timestamp};
use super::{Scope, read, unfit};
use crate::cel::error::EvalError;
use crate::cel::eval::Evaluated;
use crate::cel::value::Value;

/// Digits after the point that may be asked for.
const MAX_PRECISION: usize = 100;
/// Lists in lists that are shown.
const MAX_DEPTH: usize = 64;

pub(super) fn format<'a>(args: &[Value<'a>], scope: &mut Scope<'_>) -> Evaluated<'a> {
    let [Value::String(template), Value::List(list)] = args else {
        return unfit();
    };
    read(scope, template)?;
    let (mut text, mut next) = (String::new(), 0);
    let mut rest = template.as_str();
    while let Some(at) = rest.find('%') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            text.push('%');
            rest = after;
            continue;
        }
        let (precision, verb, after) = clause(rest)?;
        let value = list
            .get(next)
            .ok_or_else(|| EvalError::failed(format!("index {next} out of range")))?;
        next += 1;
        let length = text.len();
        written(&mut text, &value, verb, precision, scope)?;
        scope.budget.charge_tenths((text.len() - length) as u64)?;
        rest = after;
    }
    text.push_str(rest);
    Ok(Value::text(text))
}

fn clause(rest: &str) -> Result<(Option<usize>, char, &str), EvalError> {
    let unexpected = || EvalError::failed("unexpected end of string");
    let (precision, rest) = match rest.strip_prefix('.') {
        None => (None, rest),
        Some(digits) => {
            let end = digits
                .find(|c: char| !c.is_ascii_digit())
                .ok_or_else(unexpected)?;
            let precision: usize = digits[..end]
                .parse()
                .map_err(|_| EvalError::failed("error while converting precision to integer"))?;
            if precision > MAX_PRECISION {
                return Err(EvalError::failed(format!(
                    "precision must not be above {MAX_PRECISION}"
                )));
            }
            (Some(precision), &digits[end..])
        }
    };
    let verb = rest.chars().next().ok_or_else(unexpected)?;
    Ok((precision, verb, &rest[verb.len_utf8()..]))
}

fn written(
    text: &mut String,
    value: &Value<'_>,
    verb: char,
    precision: Option<usize>,
    scope: &mut Scope<'_>,
) -> Result<(), EvalError> {
    let digits = precision.unwrap_or(6);
    let done = match (verb, value) {
        ('s', value) => return shown(text, value, scope, 0),
        ('d', Value::Int(value)) => write!(text, "{value}"),
        ('d', Value::Uint(value)) => write!(text, "{value}"),
        ('d', Value::Double(value)) if !value.is_finite() => {
            write!(text, "{}", shown_double(*value))
        }
        ('f', Value::Double(value)) => write!(text, "{value:.digits$}"),
        ('f', Value::Int(value)) => write!(text, "{:.digits$}", *value as f64),
        ('f', Value::Uint(value)) => write!(text, "{:.digits$}", *value as f64),
        ('e', Value::Double(value)) => {
            let shown = format!("{value:.digits$e}");
            let (mantissa, exponent) = shown.split_once('e').unwrap_or((&shown, "0"));
            let (sign, magnitude) = match exponent.strip_prefix('-') {
                Some(magnitude) => ('-', magnitude),
                None => ('+', exponent),
            };
            write!(text, "{mantissa}e{sign}{magnitude:0>2}")
        }
        ('b', Value::Int(value)) if *value < 0 => write!(text, "-{:b}", value.unsigned_abs()),
        ('b', Value::Int(value)) => write!(text, "{value:b}"),
        ('b', Value::Uint(value)) => write!(text, "{value:b}"),
        ('b', Value::Bool(value)) => write!(text, "{}", u8::from(*value)),
        ('o', Value::Int(value)) if *value < 0 => write!(text, "-{:o}", value.unsigned_abs()),
        ('o', Value::Int(value)) => write!(text, "{value:o}"),
        ('o', Value::Uint(value)) => write!(text, "{value:o}"),
        ('x' | 'X', Value::Int(value)) if *value < 0 => {
            write!(
                text,
                "-{}",
                hex(verb, format!("{:x}", value.unsigned_abs()))
            )
        }
        ('x' | 'X', Value::Int(value)) => write!(text, "{}", hex(verb, format!("{value:x}"))),
        ('x' | 'X', Value::Uint(value)) => write!(text, "{}", hex(verb, format!("{value:x}"))),
        ('x' | 'X', Value::String(value)) => {
            write!(text, "{}", hex(verb, hex_bytes(value.as_bytes())))
        }
        ('x' | 'X', Value::Bytes(value)) => write!(text, "{}", hex(verb, hex_bytes(value))),
        ('d' | 'f' | 'e' | 'b' | 'o' | 'x' | 'X', value) => {
            return Err(EvalError::failed(format!(
                "error during formatting: clause '%{verb}' can't be used on {}",
                value.type_name()
            )));
        }
        _ => {
            return Err(EvalError::failed(format!(
                "could not parse formatting clause: unrecognized formatting clause \"{verb}\""
            )));
        }
    };
    done.map_err(|_| EvalError::failed("error during formatting"))
}

fn hex_bytes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn hex(verb: char, digits: String) -> String {
    if verb == 'X' {
        digits.to_uppercase()
    } else {
        digits
    }
}

/// `%s`: every value has a text; maps are in the order of their keys.
fn shown(
    text: &mut String,
    value: &Value<'_>,
    scope: &mut Scope<'_>,
    depth: usize,
) -> Result<(), EvalError> {
    scope.budget.charge_tenths(value.weight())?;
    if depth > MAX_DEPTH {
        return Err(EvalError::failed("too deep to be formatted"));
    }
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        Value::Int(value) => text.push_str(&value.to_string()),
        Value::Uint(value) => text.push_str(&value.to_string()),
        Value::Double(value) => text.push_str(&shown_double(*value)),
        Value::String(value) => text.push_str(value),
        Value::Bytes(bytes) => text.push_str(&String::from_utf8_lossy(bytes)),
        Value::Timestamp(at) => text.push_str(&shown_timestamp(at)),
        Value::Duration(span) => text.push_str(&shown_duration(*span)),
        Value::Type(name) => text.push_str(name),
        Value::List(list) => {
            text.push('[');
            for (i, value) in list.iter().enumerate() {
                if i > 0 {
                    text.push_str(", ");
                }
                shown(text, &value, scope, depth + 1)?;
            }
            text.push(']');
        }
        Value::Map(map) => {
            let mut parts = Vec::new();
            for (key, value) in map.entries() {
                let (mut k, mut v) = (String::new(), String::new());
                shown(&mut k, &key, scope, depth + 1)?;
                shown(&mut v, &value, scope, depth + 1)?;
                parts.push((k, v));
            }
            parts.sort();
            let parts: Vec<String> = parts
                .into_iter()
                .map(|(k, v)| format!("{k}: {v}"))
                .collect();
            text.push('{');
            text.push_str(&parts.join(", "));
            text.push('}');
        }
        other => {
            return Err(EvalError::failed(format!(
                "error during formatting: string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps, was given {}",
                other.type_name()
            )));
        }
    }
    Ok(())
}
