//! Kubernetes' URL library. Only absolute URLs and absolute paths are URLs, as upstream's `url.ParseRequestURI` has it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Overload, Scope, global, member, read, unfit};
use crate::cel::error::EvalError;
use crate::cel::eval::Evaluated;
use crate::cel::value::Value;

/// The scheme that a mere path gets while it is parsed; no URL of the world has it.
const NO_SCHEME: &str = "kontiki-path";

pub(super) fn table() -> Vec<Overload> {
    vec![
        global("url", "string", "url", |args, scope| match args {
            [Value::String(text)] => {
                read(scope, text)?;
                parse(text).map(|url| Value::Url(Arc::new(url)))
            }
            _ => unfit(),
        }),
        global("isURL", "string", "bool", |args, scope| match args {
            [Value::String(text)] => {
                read(scope, text)?;
                Ok(Value::Bool(parse(text).is_ok()))
            }
            _ => unfit(),
        }),
        member("getScheme", "url", "string", |args, scope| {
            part(args, scope, |url| scheme(url).to_owned())
        }),
        member("getHost", "url", "string", |args, scope| {
            part(args, scope, |url| match url.port() {
                Some(port) => format!("{}:{port}", url.host_str().unwrap_or_default()),
                None => url.host_str().unwrap_or_default().to_owned(),
            })
        }),
        member("getHostname", "url", "string", |args, scope| {
            part(args, scope, |url| {
                let host = url.host_str().unwrap_or_default();
                host.trim_start_matches('[')
                    .trim_end_matches(']')
                    .to_owned()
            })
        }),
        member("getPort", "url", "string", |args, scope| {
            part(args, scope, |url| {
                url.port().map_or_else(String::new, |port| port.to_string())
            })
        }),
        member("getEscapedPath", "url", "string", |args, scope| {
            part(args, scope, |url| url.path().to_owned())
        }),
        member("getQuery", "url", "map(string, list(string))", query),
    ]
}

fn scheme(url: &url::Url) -> &str {
    match url.scheme() {
        NO_SCHEME => "",
        scheme => scheme,
    }
}

fn parse(text: &str) -> Result<url::Url, EvalError> {
    let whole = match text.starts_with('/') {
        true => format!("{NO_SCHEME}:{text}"),
        false => text.to_owned(),
    };
    let failed = |why: &str| {
        EvalError::failed(format!(
            "URL parse error during conversion from string: parse {text:?}: {why}"
        ))
    };
    if text.is_empty() {
        return Err(failed("empty url"));
    }
    if text.contains(' ') || text.chars().any(|c| c.is_control()) {
        return Err(failed("invalid character in URL"));
    }
    url::Url::parse(&whole).map_err(|_| failed("invalid URI for request"))
}

fn part<'a>(
    args: &[Value<'a>],
    scope: &mut Scope<'_>,
    of: fn(&url::Url) -> String,
) -> Evaluated<'a> {
    match args {
        [Value::Url(url)] => {
            read(scope, url.as_str())?;
            Ok(Value::text(of(url)))
        }
        _ => unfit(),
    }
}

fn query<'a>(args: &[Value<'a>], scope: &mut Scope<'_>) -> Evaluated<'a> {
    let [Value::Url(url)] = args else {
        return unfit();
    };
    read(scope, url.as_str())?;
    let mut found: BTreeMap<String, Vec<Value<'a>>> = BTreeMap::new();
    for (key, value) in url.query_pairs() {
        let values = found.entry(key.into_owned()).or_default();
        values.push(Value::text(value.into_owned()));
    }
    let entries = found
        .into_iter()
        .map(|(key, values)| (Value::text(key), Value::list(values)));
    Ok(Value::map(entries.collect()))
}
