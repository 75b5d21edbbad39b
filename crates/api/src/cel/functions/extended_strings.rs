//! cel-go's string library, version 2. Places count characters, not bytes.

use super::{Overload, Scope, global, member, read, unfit};
use crate::cel::error::EvalError;
use crate::cel::eval::Evaluated;
use crate::cel::value::Value;

pub(super) fn table() -> Vec<Overload> {
    vec![
        member("charAt", "string, int", "string", char_at),
        member("indexOf", "string, string", "int", index_of),
        member("indexOf", "string, string, int", "int", index_of),
        member("lastIndexOf", "string, string", "int", last_index_of),
        member("lastIndexOf", "string, string, int", "int", last_index_of),
        member("join", "list(string)", "string", join),
        member("join", "list(string), string", "string", join),
        member("lowerAscii", "string", "string", |args, scope| {
            mapped(args, scope, str::to_ascii_lowercase)
        }),
        member("upperAscii", "string", "string", |args, scope| {
            mapped(args, scope, str::to_ascii_uppercase)
        }),
        member("trim", "string", "string", |args, scope| {
            mapped(args, scope, |text| text.trim().to_owned())
        }),
        member("replace", "string, string, string", "string", replace),
        member("replace", "string, string, string, int", "string", replace),
        member("split", "string, string", "list(string)", split),
        member("split", "string, string, int", "list(string)", split),
        member("substring", "string, int", "string", substring),
        member("substring", "string, int, int", "string", substring),
        member(
            "format",
            "string, list(dyn)",
            "string",
            super::format::format,
        ),
        global("strings.quote", "string", "string", |args, scope| {
            mapped(args, scope, quoted)
        }),
    ]
}

fn out_of_range<'a>(index: i64) -> Evaluated<'a> {
    Err(EvalError::failed(format!("index out of range: {index}")))
}

fn mapped<'a>(args: &[Value<'a>], scope: &mut Scope<'_>, of: fn(&str) -> String) -> Evaluated<'a> {
    match args {
        [Value::String(text)] => {
            read(scope, text)?;
            Ok(Value::text(of(text)))
        }
        _ => unfit(),
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '\x07' => quoted.push_str("\\a"),
            '\x08' => quoted.push_str("\\b"),
            '\x0c' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\x0b' => quoted.push_str("\\v"),
            '\\' => quoted.push_str("\\\\"),
            '"' => quoted.push_str("\\\""),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn char_at<'a>(args: &[Value<'a>], scope: &mut Scope<'_>) -> Evaluated<'a> {
    let [Value::String(text), Value::Int(index)] = args else {
        return unfit();
    };
    read(scope, text)?;
    let Ok(i) = usize::try_from(*index) else {
        return out_of_range(*index);
    };
    match text.chars().nth(i) {
        Some(c) => Ok(Value::text(c.to_string())),
        None if i == text.chars().count() => Ok(Value::text("")),
        None => out_of_range(*index),
    }
}

/// A text, a part of it, and where the search begins, if it is said.
type Search = (Vec<char>, Vec<char>, Option<i64>);

/// What is searched for, the search's price paid.
fn search<'v, 'a>(args: &'v [Value<'a>], scope: &mut Scope<'_>) -> Result<Search, EvalError> {
    let (text, part, from) = match args {
        [Value::String(text), Value::String(part)] => (text, part, None),
        [Value::String(text), Value::String(part), Value::Int(from)] => (text, part, Some(*from)),
        _ => return Err(EvalError::no_such_overload()),
    };
    let work = (text.len() as u64).saturating_mul(part.len().max(1) as u64);
    scope.budget.charge_tenths(work.max(text.len() as u64))?;
    Ok((text.chars().collect(), part.chars().collect(), from))
}

fn index_of<'a>(args: &[Value<'a>], scope: &mut Scope<'_>) -> Evaluated<'a> {
    let (text, part, from) = search(args, scope)?;
    let from = from.unwrap_or(0);
    let Some(start) = usize::try_from(from)
        .ok()
        .filter(|start| *start <= text.len())
    else {
        return out_of_range(from);
    };
    if part.is_empty() {
        return Ok(Value::Int(from));
    }
    let found = text[start..]
        .windows(part.len())
        .position(|window| window == part);
    Ok(Value::Int(found.map_or(-1, |i| (start + i) as i64)))
}

fn last_index_of<'a>(args: &[Value<'a>], scope: &mut Scope<'_>) -> Evaluated<'a> {
    let (text, part, from) = search(args, scope)?;
    let from = from.unwrap_or(text.len() as i64);
    let Some(start) = usize::try_from(from)
        .ok()
        .filter(|start| *start <= text.len())
    else {
        return out_of_range(from);
    };
    if part.is_empty() {
        return Ok(Value::Int(from));
    }
    let end = text.len().min(start.saturating_add(part.len()));
    let found = text[..end]
        .windows(part.len())
        .rposition(|window| window == part);
    Ok(Value::Int(found.map_or(-1, |i| i as i64)))
}

fn join<'a>(args: &[Value<'a>], scope: &mut Scope<'_>) -> Evaluated<'a> {
    let (list, separator) = match args {
        [Value::List(list)] => (list, ""),
        [Value::List(list), Value::String(separator)] => (list, separator.as_str()),
        _ => return unfit(),
    };
    let mut joined = String::new();
    for (i, part) in list.iter().enumerate() {
        let Value::String(part) = part else {
            return unfit();
        };
        scope
            .budget
            .charge_tenths((part.len() + separator.len() + 1) as u64)?;
        if i > 0 {
            joined.push_str(separator);
        }
        joined.push_str(&part);
    }
    Ok(Value::text(joined))
}

fn replace<'a>(args: &[Value<'a>], scope: &mut Scope<'_>) -> Evaluated<'a> {
    let (text, old, new, n) = match args {
        [Value::String(text), Value::String(old), Value::String(new)] => (text, old, new, -1),
        [
            Value::String(text),
            Value::String(old),
            Value::String(new),
            Value::Int(n),
        ] => (text, old, new, *n),
        _ => return unfit(),
    };
    read(scope, text)?;
    let n = usize::try_from(n).unwrap_or(usize::MAX);
    let n_found = if old.is_empty() {
        text.chars().count() + 1
    } else {
        text.matches(old.as_str()).count()
    };
    // The result is paid for before it is made.
    let grown = (n_found.min(n) as u64).saturating_mul(new.len() as u64);
    scope.budget.charge_tenths(grown)?;
    Ok(Value::text(text.replacen(old.as_str(), new, n)))
}

fn split<'a>(args: &[Value<'a>], scope: &mut Scope<'_>) -> Evaluated<'a> {
    let (text, separator, n) = match args {
        [Value::String(text), Value::String(separator)] => (text, separator, -1),
        [Value::String(text), Value::String(separator), Value::Int(n)] => (text, separator, *n),
        _ => return unfit(),
    };
    // Each part is a value of its own.
    scope.budget.charge(text.len() as u64 / 4 + 1)?;
    let n = usize::try_from(n).unwrap_or(usize::MAX);
    let parts: Vec<&str> = match (n, separator.as_str()) {
        (0, _) => Vec::new(),
        (n, "") => {
            let n_chars = text.chars().count();
            let whole = text.char_indices().map(|(i, c)| &text[i..i + c.len_utf8()]);
            if n >= n_chars {
                whole.collect()
            } else {
                let mut parts: Vec<&str> = whole.take(n - 1).collect();
                let at: usize = parts.iter().map(|part| part.len()).sum();
                parts.push(&text[at..]);
                parts
            }
        }
        (n, separator) => text.splitn(n, separator).collect(),
    };
    let parts = parts.into_iter().map(|part| Value::text(part.to_owned()));
    Ok(Value::list(parts.collect()))
}

fn substring<'a>(args: &[Value<'a>], scope: &mut Scope<'_>) -> Evaluated<'a> {
    let (text, start, end) = match args {
        [Value::String(text), Value::Int(start)] => (text, *start, None),
        [Value::String(text), Value::Int(start), Value::Int(end)] => (text, *start, Some(*end)),
        _ => return unfit(),
    };
    read(scope, text)?;
    let n_chars = text.chars().count() as i64;
    let end = end.unwrap_or(n_chars);
    for index in [start, end] {
        if !(0..=n_chars).contains(&index) {
            return out_of_range(index);
        }
    }
    if start > end {
        return Err(EvalError::failed(format!(
            "invalid substring range. start: {start}, end: {end}"
        )));
    }
    let part: String = text
        .chars()
        .skip(start as usize)
        .take((end - start) as usize)
        .collect();
    Ok(Value::text(part))
}
