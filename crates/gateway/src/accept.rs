//! `Accept`: in which form the client wants its answer.
//!
//! Clauses are tried by weight (`q`), wildcards last among equals, and the first that can be served wins, as upstream.
//! What can be served depends on the resource: protobuf has no Table, and custom resources have no protobuf.

use http::HeaderMap;
use http::header::ACCEPT;
use kontiki_api::{Kind, protobuf};
use kontiki_base::status::{Reason, Status};

/// How an answer is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// `application/json`.
    #[default]
    Json,
    /// `application/yaml`.
    Yaml,
    /// `application/vnd.kubernetes.protobuf`.
    Protobuf,
}

impl Format {
    /// In the order of wildcards and messages, which is upstream's.
    const ALL: [Self; 3] = [Self::Json, Self::Yaml, Self::Protobuf];

    /// Its `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::Protobuf => protobuf::MEDIA_TYPE,
        }
    }

    /// Its `Content-Type` where it is a stream of events; `None` where it cannot be one.
    pub const fn stream_type(self) -> Option<&'static str> {
        match self {
            Self::Json => Some("application/json"),
            Self::Yaml => None,
            Self::Protobuf => Some("application/vnd.kubernetes.protobuf;stream=watch"),
        }
    }
}

/// What an endpoint can answer with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// Objects of a kind that has a protobuf form.
    Kind,
    /// Objects of a kind that has none.
    CustomKind,
    /// Answers to questions (reviews): with a protobuf form, but nobody has a table of them.
    Answer,
    /// What is never transformed: `Status`, discovery, OpenAPI, version.
    Plain,
}

impl Offer {
    /// For objects of a kind.
    pub fn of(api_version: &str, kind: &str) -> Self {
        if protobuf::knows(api_version, kind) {
            Self::Kind
        } else {
            Self::CustomKind
        }
    }

    /// For what is answered about a kind.
    pub fn of_kind(kind: &Kind) -> Self {
        match kind.review() {
            Some(_) => Self::Answer,
            None => Self::of(kind.api_version(), kind.kind()),
        }
    }

    fn formats(self) -> impl Iterator<Item = Format> {
        let all = Format::ALL.into_iter();
        all.filter(move |format| self != Self::CustomKind || *format != Format::Protobuf)
    }

    /// Media types by name, as messages list them.
    pub fn names(self) -> String {
        let names: Vec<&str> = self.formats().map(Format::content_type).collect();
        names.join(", ")
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
    /// Group and version of what says so, where the shape is no object of its kind.
    pub meta: &'static str,
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
    /// `stream=`.
    stream: &'a str,
    /// `sv=`, a version of the server's, of which there is none to choose.
    server_version: &'a str,
    /// `q=`.
    weight: f32,
}

impl Clause<'_> {
    /// How little of a media type it names.
    fn n_wildcards(&self) -> usize {
        self.media_type.matches('*').count()
    }
}

/// The clauses of `Accept`, the most wanted first.
pub fn clauses(headers: &HeaderMap) -> Vec<Clause<'_>> {
    let values = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut clauses: Vec<Clause<'_>> = values
        .flat_map(|value| value.split(','))
        .map(clause)
        .collect();
    clauses.sort_by(|a, b| {
        let by_weight = b.weight.total_cmp(&a.weight);
        by_weight.then_with(|| a.n_wildcards().cmp(&b.n_wildcards()))
    });
    clauses
}

fn clause(text: &str) -> Clause<'_> {
    let mut parts = text.split(';').map(str::trim);
    let mut clause = Clause {
        media_type: parts.next().unwrap_or(""),
        weight: 1.0,
        ..Clause::default()
    };
    for (key, value) in parts.filter_map(|part| part.split_once('=')) {
        match key {
            "as" => clause.kind = value,
            "g" => clause.group = value,
            "v" => clause.version = value,
            "stream" => clause.stream = value,
            "sv" => clause.server_version = value,
            "q" => clause.weight = value.trim().parse().unwrap_or(0.0),
            _ => {}
        }
    }
    clause
}

/// Negotiates for objects and lists.
pub fn negotiate(headers: &HeaderMap, offer: Offer) -> Result<Answer, Status> {
    let clauses = clauses(headers);
    if clauses.iter().all(|clause| clause.media_type.is_empty()) {
        return Ok(Answer::default());
    }
    let served = clauses.iter().find_map(|clause| accept(clause, offer));
    served.ok_or_else(|| not_acceptable(&offer.names()))
}

/// Negotiates for documents that are no objects of a kind. They have no protobuf form: whoever prefers it reads JSON too.
pub fn negotiate_plain(headers: &HeaderMap) -> Result<Format, Status> {
    let format = negotiate(headers, Offer::Plain)?.format;
    Ok(match format {
        Format::Protobuf => Format::Json,
        other => other,
    })
}

/// The form of a failure: what the client asked for, or else JSON, which must not hide why it failed.
pub fn negotiate_failure(headers: &HeaderMap) -> Format {
    negotiate(headers, Offer::Plain).map_or(Format::Json, |answer| answer.format)
}

fn accept(clause: &Clause<'_>, offer: Offer) -> Option<Answer> {
    if !clause.server_version.is_empty() {
        return None;
    }
    let named = |format: &Format| match clause.media_type {
        "*/*" | "*" | "application/*" => true,
        name => name == format.content_type(),
    };
    offer.formats().filter(named).find_map(|format| {
        let is_stream = matches!(clause.stream, "" | "watch");
        let can_stream = clause.stream.is_empty() || format.stream_type().is_some();
        let shape = shape(clause, offer, format).filter(|_| is_stream && can_stream)?;
        let meta = match clause.version {
            "v1beta1" => "meta.k8s.io/v1beta1",
            _ => "meta.k8s.io/v1",
        };
        Some(Answer {
            format,
            shape,
            meta,
        })
    })
}

/// What the clause turns objects into; `None` where it cannot be done.
fn shape(clause: &Clause<'_>, offer: Offer, format: Format) -> Option<Shape> {
    if [clause.kind, clause.group, clause.version] == [""; 3] {
        return Some(Shape::Object);
    }
    if offer == Offer::Plain {
        return None;
    }
    let of_meta = clause.group == "meta.k8s.io"
        && match clause.version {
            "v1" => true,
            // Its lists have other field numbers; those who still ask for it name JSON next.
            "v1beta1" => format != Format::Protobuf,
            _ => false,
        };
    match clause.kind {
        "Table" if offer == Offer::Answer => None,
        "Table" if of_meta && format != Format::Protobuf => Some(Shape::Table),
        "PartialObjectMetadata" if of_meta => Some(Shape::Partial),
        "PartialObjectMetadataList" if of_meta => Some(Shape::PartialList),
        _ => None,
    }
}

/// Upstream's 406.
pub fn not_acceptable(accepted: &str) -> Status {
    Status::new(
        Reason::NotAcceptable,
        format!("only the following media types are accepted: {accepted}"),
    )
}

/// As `not_acceptable`, of an endpoint that streams.
pub fn stream_not_acceptable(offer: Offer) -> Status {
    let formats = offer
        .formats()
        .filter(|format| format.stream_type().is_some());
    let names: Vec<String> = formats
        .map(|format| format!("{};stream=watch", format.content_type()))
        .collect();
    not_acceptable(&names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROTOBUF: &str = protobuf::MEDIA_TYPE;

    fn headers(accept: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        headers
    }

    fn negotiated(accept: &str, offer: Offer) -> Option<(Format, Shape)> {
        let answer = negotiate(&headers(accept), offer);
        answer.ok().map(|answer| (answer.format, answer.shape))
    }

    #[test]
    fn the_first_clause_that_can_be_served_wins() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        let partial = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
        let metadata = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,\
                        application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
        let protobuf_table = "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io,\
                              application/json;as=Table;v=v1;g=meta.k8s.io";
        for (accept, expected) in [
            ("application/json", Some((Format::Json, Shape::Object))),
            ("*/*", Some((Format::Json, Shape::Object))),
            ("application/yaml", Some((Format::Yaml, Shape::Object))),
            (table, Some((Format::Json, Shape::Table))),
            (partial, Some((Format::Json, Shape::Partial))),
            (PROTOBUF, Some((Format::Protobuf, Shape::Object))),
            (
                "application/vnd.kubernetes.protobuf;stream=watch",
                Some((Format::Protobuf, Shape::Object)),
            ),
            (metadata, Some((Format::Protobuf, Shape::PartialList))),
            (protobuf_table, Some((Format::Json, Shape::Table))),
            (
                "application/json;q=0.5,application/vnd.kubernetes.protobuf;q=0.9",
                Some((Format::Protobuf, Shape::Object)),
            ),
            (
                "*/*,application/vnd.kubernetes.protobuf",
                Some((Format::Protobuf, Shape::Object)),
            ),
            ("application/yaml;stream=watch", None),
            ("application/json;stream=radio", None),
            ("application/json;sv=v1", None),
            (
                "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io",
                None,
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
            assert_eq!(negotiated(accept, Offer::Kind), expected, "{accept}");
        }
        let nothing = negotiate(&HeaderMap::new(), Offer::Kind);
        assert_eq!(nothing.unwrap(), Answer::default());
    }

    #[test]
    fn endpoints_offer_what_they_can() {
        assert_eq!(Offer::of("v1", "Pod"), Offer::Kind);
        let custom = Offer::of("stable.example.com/v1", "CronTab");
        assert_eq!(custom, Offer::CustomKind);
        let refused = negotiate(&headers(PROTOBUF), custom).unwrap_err();
        assert_eq!(
            refused.message,
            "only the following media types are accepted: application/json, application/yaml"
        );
        let both = "application/vnd.kubernetes.protobuf,application/json";
        assert_eq!(negotiated(both, custom), Some(Default::default()));
        assert_eq!(negotiate_plain(&headers(PROTOBUF)), Ok(Format::Json));
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        assert_eq!(negotiate_failure(&headers(PROTOBUF)), Format::Protobuf);
        assert_eq!(negotiate_failure(&headers(table)), Format::Json);
        assert_eq!(negotiate_failure(&headers("text/html")), Format::Json);
        let refused = negotiate(&headers("text/html"), Offer::Kind).unwrap_err();
        assert!(
            refused
                .message
                .ends_with("application/yaml, application/vnd.kubernetes.protobuf")
        );
        assert_eq!(
            stream_not_acceptable(Offer::Kind).message,
            "only the following media types are accepted: application/json;stream=watch, \
             application/vnd.kubernetes.protobuf;stream=watch"
        );
    }
}
