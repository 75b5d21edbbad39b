//! `Accept`: in which form the client wants its answer.
//!
//! Clauses are tried in the client's order (as upstream, which ignores `q`). Protobuf answers are not made: a client
//! that prefers them gets JSON, which every known client reads.

use http::HeaderMap;
use http::header::ACCEPT;
use kontiki_base::status::{Reason, Status};

/// Text or bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// `application/json`.
    #[default]
    Json,
    /// `application/yaml`.
    Yaml,
}

impl Format {
    /// Its `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
        }
    }
}

/// What an object is turned into before it is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Shape {
    /// Itself.
    #[default]
    Object,
    /// Rows as `kubectl get` prints them.
    Table,
    /// Metadata only.
    Partial,
    /// Metadata only, of a list.
    PartialList,
}

/// The negotiated answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Answer {
    /// Serialization.
    pub format: Format,
    /// Transformation.
    pub shape: Shape,
}

/// One clause of `Accept`.
#[derive(Debug, Default)]
pub struct Clause<'a> {
    /// `type/subtype`, as sent.
    pub media_type: &'a str,
    /// `as=`.
    pub kind: &'a str,
    /// `g=`.
    pub group: &'a str,
    /// `v=`.
    pub version: &'a str,
}

/// The clauses of `Accept`, in order.
pub fn clauses(headers: &HeaderMap) -> Vec<Clause<'_>> {
    let values = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(clause)
        .collect()
}

fn clause(text: &str) -> Clause<'_> {
    let mut parts = text.split(';').map(str::trim);
    let mut clause = Clause {
        media_type: parts.next().unwrap_or(""),
        ..Clause::default()
    };
    for (key, value) in parts.filter_map(|part| part.split_once('=')) {
        match key {
            "as" => clause.kind = value,
            "g" => clause.group = value,
            "v" => clause.version = value,
            _ => {}
        }
    }
    clause
}

/// Negotiates for objects and lists.
pub fn negotiate(headers: &HeaderMap) -> Result<Answer, Status> {
    let clauses = clauses(headers);
    if clauses.iter().all(|clause| clause.media_type.is_empty()) {
        return Ok(Answer::default());
    }
    clauses.iter().find_map(accept).ok_or_else(not_acceptable)
}

/// Negotiates where no transformation is on offer: `Status`, discovery, OpenAPI.
pub fn negotiate_plain(headers: &HeaderMap) -> Result<Format, Status> {
    negotiate(headers).map(|answer| answer.format)
}

fn accept(clause: &Clause<'_>) -> Option<Answer> {
    let format = match clause.media_type {
        "application/json" | "*/*" | "application/*" => Format::Json,
        // Nobody needs protobuf answers, many prefer them.
        "application/vnd.kubernetes.protobuf" => Format::Json,
        "application/yaml" => Format::Yaml,
        _ => return None,
    };
    let of_meta = clause.group == "meta.k8s.io" && matches!(clause.version, "v1" | "v1beta1");
    let shape = match clause.kind {
        "" => Shape::Object,
        "Table" if of_meta => Shape::Table,
        "PartialObjectMetadata" if of_meta => Shape::Partial,
        "PartialObjectMetadataList" if of_meta => Shape::PartialList,
        _ => return None,
    };
    Some(Answer { format, shape })
}

/// Upstream's 406.
pub fn not_acceptable() -> Status {
    Status::new(
        Reason::NotAcceptable,
        "only the following media types are accepted: application/json, application/yaml",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn negotiated(accept: &str) -> Option<(Format, Shape)> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        negotiate(&headers)
            .ok()
            .map(|answer| (answer.format, answer.shape))
    }

    #[test]
    fn the_first_clause_that_can_be_served_wins() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        let partial = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
        for (accept, expected) in [
            ("application/json", Some((Format::Json, Shape::Object))),
            ("*/*", Some((Format::Json, Shape::Object))),
            ("application/yaml", Some((Format::Yaml, Shape::Object))),
            (table, Some((Format::Json, Shape::Table))),
            (partial, Some((Format::Json, Shape::Partial))),
            (
                "application/vnd.kubernetes.protobuf",
                Some((Format::Json, Shape::Object)),
            ),
            (
                "application/json;as=Nonsense;v=v1;g=x, application/json",
                Some(Default::default()),
            ),
            ("text/html, */*;q=0.8", Some(Default::default())),
            ("application/json;stream=watch", Some(Default::default())),
            ("text/html", None),
            ("application/json;as=Table;v=v9;g=meta.k8s.io", None),
        ] {
            assert_eq!(negotiated(accept), expected, "{accept}");
        }
        assert_eq!(negotiate(&HeaderMap::new()).unwrap(), Answer::default());
    }
}
