//! What an object becomes on its way out: itself, its metadata, or a row of a Table.
//!
//! Stored bytes are copied, not decoded, wherever the shape allows.

use kontiki_api::Kind;
use kontiki_api::table::{IncludeObject, column_definitions};
use kontiki_apiserver::shown_item;
use kontiki_base::status::Status;
use kontiki_state::Object;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::accept;
use crate::query::Query;

/// Writes objects of one kind in one shape.
#[derive(Clone)]
pub struct Shaper {
    /// The kind.
    pub kind: Kind,
    /// The shape.
    pub shape: accept::Shape,
    /// Where Kubernetes' general types stand, in the version that was asked for.
    pub meta: &'static str,
    include: IncludeObject,
    now_unix_ms: u64,
}

#[derive(Deserialize)]
struct MetadataOnly<'a> {
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

impl Shaper {
    /// For a request.
    pub fn new(
        kind: Kind,
        accepted: accept::Answer,
        query: &Query,
        now_unix_ms: u64,
    ) -> Result<Self, Status> {
        let accept::Answer { shape, meta, .. } = accepted;
        let sent = query.get("includeObject").unwrap_or("");
        let include = match IncludeObject::parse(sent) {
            None if shape == accept::Shape::Table => {
                return Err(Status::bad_request(format!(
                    "unrecognized includeObject value: {sent:?}"
                )));
            }
            parsed => parsed.unwrap_or(IncludeObject::Metadata),
        };
        Ok(Self {
            kind,
            shape,
            meta,
            include,
            now_unix_ms,
        })
    }

    /// Appends one object of an answer or of an event.
    pub fn write(&self, object: &Object, out: &mut Vec<u8>) {
        self.write_json(&object.json(), &object.revision.to_string(), out);
    }

    /// As `write`, for JSON that has its `resourceVersion` already.
    pub fn write_json(&self, json: &[u8], revision: &str, out: &mut Vec<u8>) {
        match self.shape {
            accept::Shape::Object => out.extend_from_slice(json),
            accept::Shape::Partial | accept::Shape::PartialList => {
                write_partial(json, self.meta, out);
            }
            accept::Shape::Table => {
                self.write_table_head(&json!({"resourceVersion": revision}), out);
                self.write_row(json, out);
                out.extend_from_slice(b"]}");
            }
        }
    }

    /// Appends one item of a list.
    pub fn write_item(&self, object: &Object, out: &mut Vec<u8>) {
        let shown = shown_item(&self.kind, object);
        let object = shown.as_deref().unwrap_or(object);
        match self.shape {
            accept::Shape::Object => {
                let start = out.len();
                object.write_json(out);
                // Upstream decodes users' kinds into maps, which keep theirs.
                if self.kind.definition().is_none() {
                    strip_type(out, start, &self.kind);
                }
            }
            accept::Shape::Partial | accept::Shape::PartialList => {
                write_partial(&object.json(), self.meta, out);
            }
            accept::Shape::Table => self.write_row(&object.json(), out),
        }
    }

    /// `apiVersion`, and the kinds of an item and of a list of them.
    pub fn types(&self) -> (&str, String, String) {
        match self.shape {
            accept::Shape::Object => (
                self.kind.api_version(),
                self.kind.kind().to_owned(),
                self.kind.list_kind(),
            ),
            accept::Shape::Table => (self.meta, "TableRow".to_owned(), "Table".to_owned()),
            accept::Shape::Partial | accept::Shape::PartialList => (
                self.meta,
                "PartialObjectMetadata".to_owned(),
                "PartialObjectMetadataList".to_owned(),
            ),
        }
    }

    /// Appends all of a list that comes before its items.
    pub fn write_list_head(&self, metadata: &Value, out: &mut Vec<u8>) {
        if self.shape == accept::Shape::Table {
            return self.write_table_head(metadata, out);
        }
        let (api_version, _, kind) = self.types();
        let head = format!(
            "{{\"kind\":\"{kind}\",\"apiVersion\":\"{api_version}\",\"metadata\":{metadata},\"items\":["
        );
        out.extend_from_slice(head.as_bytes());
    }

    fn write_table_head(&self, metadata: &Value, out: &mut Vec<u8>) {
        let head = format!(
            "{{\"kind\":\"Table\",\"apiVersion\":\"{}\",\"metadata\":{metadata},\
             \"columnDefinitions\":{},\"rows\":[",
            self.meta,
            column_definitions(&self.kind)
        );
        out.extend_from_slice(head.as_bytes());
    }

    fn write_row(&self, json: &[u8], out: &mut Vec<u8>) {
        let tree: Value = serde_json::from_slice(json).unwrap_or_default();
        let cells = Value::from(self.kind.row(&tree, self.now_unix_ms));
        out.extend_from_slice(format!("{{\"cells\":{cells},\"object\":").as_bytes());
        match self.include {
            IncludeObject::None => out.extend_from_slice(b"null"),
            IncludeObject::Metadata => write_partial(json, self.meta, out),
            IncludeObject::Object => out.extend_from_slice(json),
        }
        out.push(b'}');
    }
}

/// Appends the object's metadata alone.
fn write_partial(json: &[u8], meta: &str, out: &mut Vec<u8>) {
    let metadata = serde_json::from_slice::<MetadataOnly<'_>>(json).ok();
    let metadata = metadata
        .and_then(|only| only.metadata)
        .map_or("{}", RawValue::get);
    let head =
        format!("{{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"{meta}\",\"metadata\":");
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(metadata.as_bytes());
    out.push(b'}');
}

/// Takes `apiVersion` and `kind` out of the object that starts at `start`: upstream's lists say them once.
fn strip_type(out: &mut Vec<u8>, start: usize, kind: &Kind) {
    for member in [
        format!("\"apiVersion\":\"{}\",", kind.api_version()),
        format!("\"kind\":\"{}\",", kind.kind()),
    ] {
        if let Some(at) = find_member(&out[start..], member.as_bytes()) {
            out.drain(start + at..start + at + member.len());
        }
    }
}

/// Where a member of the outermost object stands. Both that we look for come early, so this reads little.
fn find_member(json: &[u8], member: &[u8]) -> Option<usize> {
    let (mut depth, mut at) = (0_usize, 0);
    while at < json.len() {
        match json[at] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' if depth == 1 && json[at..].starts_with(member) => return Some(at),
            b'"' => {
                at += 1;
                while at < json.len() && json[at] != b'"' {
                    at += if json[at] == b'\\' { 2 } else { 1 };
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_in_the_outermost_object_only() {
        let json = br#"{"data":{"kind":"Pod","x":"\"kind\":\"Pod\","},"kind":"Pod","metadata":{}}"#;
        let at = find_member(json, b"\"kind\":\"Pod\",").unwrap();
        assert_eq!(&json[at..at + 13], b"\"kind\":\"Pod\",");
        assert_eq!(at, 47);
        assert_eq!(find_member(br#"{"kind":"Po"#, b"\"kind\":\"Pod\","), None);
    }

    #[test]
    fn partial_metadata_is_copied_verbatim() {
        let mut out = Vec::new();
        write_partial(
            br#"{"kind":"Pod","metadata":{"name":"a","labels":{"b":"c"}},"spec":{}}"#,
            "meta.k8s.io/v1",
            &mut out,
        );
        assert!(out.ends_with(br#""metadata":{"name":"a","labels":{"b":"c"}}}"#));
    }
}
