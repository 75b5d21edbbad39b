//! Answers: bodies, their headers, and failures as `Status`.

use std::io::Write as _;

use axum::body::Body;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT, VARY,
    WARNING,
};
use http::{HeaderMap, StatusCode};
use kontiki_api::protobuf;
use kontiki_base::status::{Reason, Status};
use serde_json::Value;

use crate::accept::Format;
use crate::codec;

/// An answer.
pub type Response = http::Response<Body>;

/// Bodies beyond this are worth compressing (upstream's `defaultGzipThresholdBytes`).
pub const GZIP_BYTES: usize = 128 * 1024;

/// How to write an answer: what was negotiated, and what the request says besides.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    /// JSON, YAML or protobuf.
    pub format: Format,
    /// Indented, for people.
    pub pretty: bool,
    /// The client takes gzip.
    pub gzip: bool,
}

impl Style {
    /// From the request's headers and its `pretty` parameter.
    pub fn of(headers: &HeaderMap, format: Format, pretty: Option<bool>) -> Self {
        let text = |name| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or("")
        };
        let agent = text(USER_AGENT);
        let is_person = ["curl", "Wget", "Mozilla/5.0"]
            .iter()
            .any(|name| agent.starts_with(name));
        let mut encodings = text(ACCEPT_ENCODING).split(',').map(str::trim);
        let gzip = encodings.any(|encoding| encoding.split(';').next() == Some("gzip"));
        Self {
            format,
            pretty: pretty.unwrap_or(is_person),
            gzip,
        }
    }

    /// Whether stored bytes can be sent as they are.
    pub fn is_verbatim(self) -> bool {
        self.format == Format::Json && !self.pretty
    }
}

/// A tree as an answer.
pub fn value(code: StatusCode, value: &Value, style: Style) -> Response {
    let bytes = match style.format {
        Format::Yaml => codec::to_yaml(value),
        Format::Protobuf => protobuf::encode(value).map_err(|error| no_form(&error)),
        Format::Json if style.pretty => pretty(value),
        Format::Json => Ok(value.to_string().into_bytes()),
    };
    match bytes {
        Ok(bytes) => whole(code, style.format.content_type(), bytes.into(), style.gzip),
        Err(error) => status(&error),
    }
}

fn pretty(value: &Value) -> Result<Vec<u8>, Status> {
    serde_json::to_vec_pretty(value).map_err(|error| Status::internal(error.to_string()))
}

/// JSON bytes as an answer: sent as they are where the style allows.
pub fn json_bytes(code: StatusCode, bytes: Bytes, style: Style) -> Response {
    if style.is_verbatim() {
        return whole(code, style.format.content_type(), bytes, style.gzip);
    }
    match serde_json::from_slice::<Value>(&bytes) {
        Ok(tree) => value(code, &tree, style),
        Err(error) => status(&Status::internal(format!(
            "a stored object is not JSON: {error}"
        ))),
    }
}

/// An object's JSON as protobuf.
pub fn to_protobuf(json: &[u8]) -> Result<Vec<u8>, Status> {
    protobuf::encode(&tree(json)?).map_err(|error| no_form(&error))
}

/// An object's JSON as a tree.
pub fn tree(json: &[u8]) -> Result<Value, Status> {
    serde_json::from_slice(json)
        .map_err(|error| Status::internal(format!("a stored object is not JSON: {error}")))
}

/// What upstream answers for an object that it cannot write as protobuf.
pub fn no_form(error: &protobuf::Error) -> Status {
    Status::new(Reason::NotAcceptable, error.to_string())
}

/// A whole body, compressed where that pays.
pub fn whole(code: StatusCode, content_type: &'static str, bytes: Bytes, gzip: bool) -> Response {
    if gzip && bytes.len() > GZIP_BYTES {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        if encoder.write_all(&bytes).is_ok()
            && let Ok(packed) = encoder.finish()
        {
            let mut response = plain(code, content_type, Body::from(packed));
            mark_gzip(&mut response);
            return response;
        }
    }
    plain(code, content_type, Body::from(bytes))
}

/// Says that the body is compressed.
pub fn mark_gzip(response: &mut Response) {
    response
        .headers_mut()
        .insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    response
        .headers_mut()
        .insert(VARY, HeaderValue::from_static("Accept-Encoding"));
}

/// Any body.
pub fn plain(code: StatusCode, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Plain text.
pub fn text(code: StatusCode, text: impl Into<Body>) -> Response {
    plain(code, "text/plain; charset=utf-8", text.into())
}

/// A failure: JSON, until `in_form_of` writes it as the client asked.
pub fn status(status: &Status) -> Response {
    let code =
        StatusCode::from_u16(status.http_code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let tree = status.to_json();
    let mut response = plain(
        code,
        Format::Json.content_type(),
        Body::from(tree.to_string()),
    );
    response.extensions_mut().insert(Failure(tree));
    let asked = status
        .details
        .as_ref()
        .map_or(0, |details| details.retry_after_seconds);
    let overloaded = matches!(
        status.reason,
        Reason::TooManyRequests | Reason::ServiceUnavailable
    );
    if asked > 0 || overloaded {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(asked.max(1)));
    }
    response
}

/// The tree of a failure's `Status`, kept beside its JSON.
#[derive(Clone)]
struct Failure(Value);

/// The `Status` of an answer that is a failure.
pub fn failure(response: &Response) -> Option<&Value> {
    let failure = response.extensions().get::<Failure>();
    failure.map(|Failure(tree)| tree)
}

/// Writes a failure in another form than JSON; other answers have their form already.
pub fn in_form_of(mut response: Response, format: Format) -> Response {
    let failure = response.extensions_mut().remove::<Failure>();
    let bytes = match (failure, format) {
        (None, _) | (_, Format::Json) => return response,
        (Some(Failure(tree)), Format::Yaml) => codec::to_yaml(&tree),
        (Some(Failure(tree)), Format::Protobuf) => {
            protobuf::encode(&tree).map_err(|error| no_form(&error))
        }
    };
    // What cannot be written as asked stays JSON: it must not hide why the request failed.
    if let Ok(bytes) = bytes {
        let content_type = HeaderValue::from_static(format.content_type());
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        *response.body_mut() = Body::from(bytes);
    }
    response
}

/// Characters of all warnings of an answer, beyond which each is cut, and of one that is cut (upstream's
/// `truncateAtTotalRunes` and `truncateItemRunes`).
const WARNINGS_CHARS: usize = 4 * 1024;
const WARNING_CHARS: usize = 256;

/// The warnings that an answer has room for: all, or those that fit once each is cut.
fn that_fit(warnings: &[String]) -> Vec<&str> {
    let n_chars = |text: &str| text.chars().count();
    let all = warnings.iter().map(|text| n_chars(text)).sum::<usize>();
    if all <= WARNINGS_CHARS {
        return warnings.iter().map(String::as_str).collect();
    }
    let mut room = WARNINGS_CHARS;
    let cut = warnings.iter().map(|text| {
        let end = text.char_indices().nth(WARNING_CHARS);
        end.map_or(text.as_str(), |(end, _)| &text[..end])
    });
    cut.take_while(|text| {
        let fits = n_chars(text) <= room;
        room = room.saturating_sub(n_chars(text));
        fits
    })
    .collect()
}

/// Adds `Warning` headers (RFC 7234 §5.5, as `net.NewWarningHeader` writes them).
pub fn warn(response: &mut Response, warnings: &[String]) {
    for warning in that_fit(warnings) {
        if let Ok(value) = HeaderValue::from_bytes(warning_header(warning).as_bytes()) {
            response.headers_mut().append(WARNING, value);
        }
    }
}

fn warning_header(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            other if other.is_control() => quoted.push(' '),
            other => quoted.push(other),
        }
    }
    format!("299 - \"{quoted}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_cannot_break_out_of_their_header() {
        let header = warning_header("unknown field \"spec.a\\b\"\r\nSet-Cookie: x");
        assert_eq!(
            header,
            r#"299 - "unknown field \"spec.a\\b\"  Set-Cookie: x""#
        );
    }

    #[test]
    fn warnings_without_end_are_cut() {
        let few = vec!["é".repeat(1000); 4];
        assert_eq!(that_fit(&few), few);
        let many = vec!["é".repeat(1000); 100];
        let fit = that_fit(&many);
        assert_eq!(
            fit,
            vec!["é".repeat(WARNING_CHARS); WARNINGS_CHARS / WARNING_CHARS]
        );
    }

    #[test]
    fn overload_says_when_to_come_back() {
        let response = status(&Status::new(Reason::TooManyRequests, "full").with_retry_after(7));
        assert_eq!(
            (response.status().as_u16(), &response.headers()[RETRY_AFTER]),
            (429, &"7".parse().unwrap())
        );
        let response = status(&Status::new(Reason::ServiceUnavailable, "no leader"));
        assert_eq!(response.headers()[RETRY_AFTER], "1");
        assert!(
            !status(&Status::bad_request("x"))
                .headers()
                .contains_key(RETRY_AFTER)
        );
    }

    #[test]
    fn only_large_bodies_are_compressed_and_only_when_asked() {
        let is_gzip = |n_bytes, gzip| {
            let response = whole(
                StatusCode::OK,
                "text/plain",
                vec![b'a'; n_bytes].into(),
                gzip,
            );
            response.headers().contains_key(CONTENT_ENCODING)
        };
        assert!(is_gzip(GZIP_BYTES + 1, true));
        assert!(!is_gzip(GZIP_BYTES, true) && !is_gzip(GZIP_BYTES + 1, false));
    }
}
