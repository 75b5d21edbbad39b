//! Request bodies to JSON trees. One enum of body formats: a further one is a variant, a media type and a decoder.
//!
//! All decoders bound the nesting (parsers recurse) and what a few bytes can grow to (aliases, packed lists).

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use kontiki_api::protobuf;
use kontiki_apiserver::Body;
use kontiki_base::limits::{REQUEST_BYTES, YAML_NESTING_DEPTH};
use kontiki_base::status::{Reason, Status};
use serde_json::Value;

use crate::accept::Offer;
use crate::discovery::hex;

/// How a request body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFormat {
    /// `application/json`, also when the client does not say.
    Json,
    /// `application/yaml`.
    Yaml,
    /// `application/vnd.kubernetes.protobuf`.
    Protobuf,
}

/// The type that a body should have: that of one that does not say.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// `apiVersion`.
    pub api_version: &'a str,
    /// `kind`.
    pub kind: &'a str,
}

impl Expected<'_> {
    /// `DeleteOptions`, whatever is deleted.
    pub const DELETE_OPTIONS: Self = Self {
        api_version: "meta.k8s.io/v1",
        kind: "DeleteOptions",
    };

    /// Media types that decode, as messages list them.
    fn accepted(self) -> String {
        Offer::of(self.api_version, self.kind).names()
    }
}

impl BodyFormat {
    /// From `Content-Type`; 415 for what cannot be decoded to an object of that type.
    pub fn of(headers: &HeaderMap, expected: Expected<'_>) -> Result<Self, Status> {
        match media_type(headers) {
            "" | "application/json" | "*/*" => Ok(Self::Json),
            "application/yaml" => Ok(Self::Yaml),
            protobuf::MEDIA_TYPE if protobuf::knows(expected.api_version, expected.kind) => {
                Ok(Self::Protobuf)
            }
            _ => Err(unsupported(&expected.accepted())),
        }
    }

    /// Decodes a body; 400 when it cannot be.
    pub fn decode(self, bytes: &[u8], expected: Expected<'_>) -> Result<Body, Status> {
        match self {
            Self::Protobuf => protobuf::decode(bytes, (expected.api_version, expected.kind))
                .map(Body::from)
                .map_err(|error| unrecognized(&error, expected.kind, bytes)),
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

/// Why protobuf does not decode, as upstream words it: by the object's type once that is known, else by its bytes.
fn unrecognized(error: &protobuf::Error, expected: &str, bytes: &[u8]) -> Status {
    /// Bytes of a body that a message shows.
    const SHOWN: usize = 30;
    Status::bad_request(match &error.told {
        Some((api_version, kind)) => {
            let version = api_version.rsplit('/').next().unwrap_or_default();
            format!("{kind} in version \"{version}\" cannot be handled as a {expected}: {error}")
        }
        None => {
            let shown = match (bytes.len(), hex(&bytes[..bytes.len().min(SHOWN)])) {
                (0, _) => "<empty>".to_owned(),
                (n_bytes, shown) if n_bytes > SHOWN => format!("{shown} ..."),
                (_, shown) => shown,
            };
            format!(
                "the object provided is unrecognized (must be of type {expected}): {error} ({shown})"
            )
        }
    })
}

fn yaml(bytes: &[u8]) -> Result<Value, Status> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: YAML_NESTING_DEPTH,
            flow_nesting_limit: YAML_NESTING_DEPTH,
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

    const POD: Expected<'_> = Expected {
        api_version: "v1",
        kind: "Pod",
    };

    fn refused(bytes: &[u8], format: BodyFormat) -> bool {
        matches!(format.decode(bytes, POD), Err(status) if status.reason == Reason::BadRequest)
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
            BodyFormat::of(&headers, POD).map_err(|status| status.message)
        };
        assert_eq!(of("application/json; charset=utf-8"), Ok(BodyFormat::Json));
        assert_eq!(of("application/yaml"), Ok(BodyFormat::Yaml));
        assert_eq!(of(protobuf::MEDIA_TYPE), Ok(BodyFormat::Protobuf));
        let refused = of("text/plain").unwrap_err();
        assert!(refused.ends_with(
            "accepted media types include: application/json, application/yaml, \
             application/vnd.kubernetes.protobuf"
        ));
        let custom = Expected {
            api_version: "stable.example.com/v1",
            kind: "CronTab",
        };
        let mut headers = HeaderMap::new();
        assert_eq!(BodyFormat::of(&headers, custom), Ok(BodyFormat::Json));
        headers.insert(CONTENT_TYPE, protobuf::MEDIA_TYPE.parse().unwrap());
        let refused = BodyFormat::of(&headers, custom).unwrap_err();
        assert!(
            refused
                .message
                .ends_with("application/json, application/yaml")
        );
    }

    #[test]
    fn protobuf_that_does_not_decode_is_told_as_upstream_does() {
        let message = |bytes: &[u8]| BodyFormat::Protobuf.decode(bytes, POD).unwrap_err().message;
        assert_eq!(
            message(b"{\"kind\":\"Pod\"}"),
            "the object provided is unrecognized (must be of type Pod): provided data does not appear to be a \
             protobuf message, expected prefix [107 56 115 0] (7b226b696e64223a22506f64227d)"
        );
        assert_eq!(
            message(b""),
            "the object provided is unrecognized (must be of type Pod): empty data (<empty>)"
        );
        assert_eq!(
            message(b"k8s\0\x12\x02\x0a\x05"),
            "Pod in version \"v1\" cannot be handled as a Pod: unexpected EOF"
        );
    }
}
