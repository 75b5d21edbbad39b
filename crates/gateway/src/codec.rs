//! Request bodies to JSON trees. One enum of body formats: a further one is a variant, a media type and a decoder.
//!
//! Both decoders bound the nesting (parsers recurse) and what aliases multiply.

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use kontiki_apiserver::Body;
use kontiki_base::limits::{NESTING_DEPTH, REQUEST_BYTES};
use kontiki_base::status::{Reason, Status};
use serde_json::Value;

/// How a request body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFormat {
    /// `application/json`, also when the client does not say.
    Json,
    /// `application/yaml`.
    Yaml,
}

/// What decodes, in upstream's order and words.
const ACCEPTED: &str = "application/json, application/yaml";

impl BodyFormat {
    /// From `Content-Type`; 415 for what cannot be decoded.
    pub fn of(headers: &HeaderMap) -> Result<Self, Status> {
        match media_type(headers) {
            "" | "application/json" | "*/*" => Ok(Self::Json),
            "application/yaml" => Ok(Self::Yaml),
            _ => Err(unsupported(ACCEPTED)),
        }
    }

    /// Decodes a body; 400 when it cannot be.
    pub fn decode(self, bytes: &[u8]) -> Result<Body, Status> {
        match self {
            Self::Json => Body::from_json(bytes),
            // JSON is YAML, and clients send it under the YAML type (server-side apply): the faster way.
            Self::Yaml if bytes.trim_ascii_start().starts_with(b"{") => {
                Body::from_json(bytes).or_else(|_| yaml(bytes).map(Body::from))
            }
            Self::Yaml => yaml(bytes).map(Body::from),
        }
    }
}

/// `type/subtype` of a body, lower case not assumed; empty when absent.
pub fn media_type(headers: &HeaderMap) -> &str {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    value.split(';').next().unwrap_or("").trim()
}

/// Upstream's 415.
pub fn unsupported(accepted: &str) -> Status {
    let message = format!(
        "the body of the request was in an unknown format - accepted media types include: {accepted}"
    );
    Status::new(Reason::UnsupportedMediaType, message)
}

fn yaml(bytes: &[u8]) -> Result<Value, Status> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: NESTING_DEPTH,
            flow_nesting_limit: NESTING_DEPTH,
            max_documents: 1,
            max_aliases: 100,
            max_anchors: 100,
            max_recorded_anchor_bytes: REQUEST_BYTES,
            max_total_scalar_bytes: REQUEST_BYTES,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 10_000,
            max_replay_stack_depth: 16,
            max_alias_expansions_per_anchor: 100,
        },
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::LastWins,
    };
    serde_saphyr::from_slice_with_options(bytes, options).map_err(|error| {
        let message: String = error
            .to_string()
            .lines()
            .next()
            .unwrap_or("")
            .chars()
            .take(300)
            .collect();
        Status::bad_request(format!("error converting YAML to JSON: {message}"))
    })
}

/// Writes a tree as YAML.
pub fn to_yaml(value: &Value) -> Result<Vec<u8>, Status> {
    serde_saphyr::to_string(value)
        .map(String::into_bytes)
        .map_err(|error| Status::internal(format!("writing YAML: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(bytes: &[u8], format: BodyFormat) -> bool {
        matches!(format.decode(bytes), Err(status) if status.reason == Reason::BadRequest)
    }

    #[test]
    fn deep_bodies_are_refused() {
        let deep = "[".repeat(100_000);
        assert!(refused(deep.as_bytes(), BodyFormat::Json));
        assert!(refused(deep.as_bytes(), BodyFormat::Yaml));
        assert!(refused("- ".repeat(100_000).as_bytes(), BodyFormat::Yaml));
        assert!(refused(
            "{\"a\":".repeat(100_000).as_bytes(),
            BodyFormat::Yaml
        ));
    }

    #[test]
    fn yaml_is_read_and_alias_bombs_are_not() {
        let value =
            yaml(b"kind: Pod\nspec: {containers: [{name: a, args: ['1', \"yes\"]}]}\n").unwrap();
        assert_eq!(value["spec"]["containers"][0]["args"][0], "1");
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..10 {
            let aliases = format!("*a{}", level - 1);
            bomb += &format!(
                "a{level}: &a{level} [{}]\n",
                [aliases.as_str(); 10].join(",")
            );
        }
        assert!(refused(bomb.as_bytes(), BodyFormat::Yaml));
        let wide = format!(
            "a: &a \"{}\"\nb: [{}]\n",
            "x".repeat(1 << 20),
            ["*a"; 90].join(",")
        );
        assert!(
            refused(wide.as_bytes(), BodyFormat::Yaml),
            "90 MiB out of one"
        );
    }

    #[test]
    fn content_types() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, text.parse().unwrap());
            BodyFormat::of(&headers).map_err(|status| status.reason)
        };
        assert_eq!(of("application/json; charset=utf-8"), Ok(BodyFormat::Json));
        assert_eq!(of("application/yaml"), Ok(BodyFormat::Yaml));
        assert_eq!(
            of("application/vnd.kubernetes.protobuf"),
            Err(Reason::UnsupportedMediaType)
        );
        assert_eq!(BodyFormat::of(&HeaderMap::new()), Ok(BodyFormat::Json));
    }
}
