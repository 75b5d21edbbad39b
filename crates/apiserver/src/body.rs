//! A request body as a JSON tree, with what the tree can't say: fields that came twice.

use std::cell::RefCell;
use std::fmt::{self, Write as _};

use kontiki_base::limits;
use kontiki_base::status::{Reason, Status};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Fields that came twice are told up to this many (upstream's decoder gives up counting there too).
const MAX_DUPLICATES: usize = 100;
/// And each by so many bytes of its path: what is told must not be larger than what was sent.
const DUPLICATE_BYTES: usize = 1024;

/// A decoded request body.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Body {
    /// The tree.
    pub value: Value,
    /// Paths of fields that came twice, the last one having won.
    pub duplicates: Vec<String>,
}

impl Body {
    /// Decodes JSON.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Status> {
        if bytes.len() > limits::REQUEST_BYTES {
            return Err(Status::new(
                Reason::RequestEntityTooLarge,
                format!(
                    "Request entity too large: limit is {}",
                    limits::REQUEST_BYTES
                ),
            ));
        }
        let duplicates = RefCell::new(Vec::new());
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let tree = Tree {
            place: None,
            depth: 0,
            duplicates: &duplicates,
        };
        let value = tree
            .deserialize(&mut reader)
            .and_then(|value| reader.end().map(|()| value));
        let value = value.map_err(|error| {
            Status::bad_request(format!("the object provided is unrecognized: {error}"))
        })?;
        Ok(Self {
            value,
            duplicates: duplicates.into_inner(),
        })
    }
}

impl From<Value> for Body {
    fn from(value: Value) -> Self {
        Self {
            value,
            duplicates: Vec::new(),
        }
    }
}

/// Where a value stands: a step, and the place of what holds it. Spelled out only for fields that came twice.
#[derive(Clone, Copy)]
struct Place<'a> {
    parent: Option<&'a Place<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Field(&'a str),
    Index(usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Index(idx) => write!(f, "[{idx}]"),
            Step::Field(name) if self.parent.is_some() => write!(f, ".{name}"),
            Step::Field(name) => f.write_str(name),
        }
    }
}

impl Place<'_> {
    /// Adds the path of a field that came twice, once, within the limits.
    fn report(&self, duplicates: &mut Vec<String>) {
        if duplicates.len() >= MAX_DUPLICATES {
            return;
        }
        let mut path = Shortened(String::new());
        // It fails where the path is cut.
        let _ = write!(path, "{self}");
        if !duplicates.contains(&path.0) {
            duplicates.push(path.0);
        }
    }
}

/// The beginning of what is written.
struct Shortened(String);

impl fmt::Write for Shortened {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = DUPLICATE_BYTES.saturating_sub(self.0.len());
        let kept = text.floor_char_boundary(room);
        self.0.push_str(&text[..kept]);
        if kept < text.len() {
            self.0.push_str("...");
            return Err(fmt::Error);
        }
        Ok(())
    }
}

/// Builds one value, and knows where in the document it is.
struct Tree<'a> {
    place: Option<&'a Place<'a>>,
    depth: usize,
    duplicates: &'a RefCell<Vec<String>>,
}

impl Tree<'_> {
    fn depth_below<E: Error>(&self) -> Result<usize, E> {
        if self.depth >= limits::NESTING_DEPTH {
            return Err(E::custom(format!(
                "nested deeper than {}",
                limits::NESTING_DEPTH
            )));
        }
        Ok(self.depth + 1)
    }
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let depth = self.depth_below()?;
        let mut items = Vec::new();
        loop {
            let place = Place {
                parent: self.place,
                step: Step::Index(items.len()),
            };
            let item = access.next_element_seed(Tree {
                place: Some(&place),
                depth,
                duplicates: self.duplicates,
            })?;
            match item {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            let depth = self.depth_below()?;
            let place = Place {
                parent: self.place,
                step: Step::Field(&name),
            };
            let value = access.next_value_seed(Tree {
                place: Some(&place),
                depth,
                duplicates: self.duplicates,
            })?;
            if fields.contains_key(&name) {
                place.report(&mut self.duplicates.borrow_mut());
            }
            fields.insert(name, value);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_last_of_two_fields_wins_and_is_reported() {
        let body = br#"{"spec":{"c":[{"a":1,"a":2}],"r":1,"r":2},"x":1.5,"n":null}"#;
        let body = Body::from_json(body).unwrap();
        let expected = json!({"spec": {"c": [{"a": 2}], "r": 2}, "x": 1.5, "n": null});
        assert_eq!(body.value, expected);
        assert_eq!(body.duplicates, ["spec.c[0].a", "spec.r"]);
    }

    #[test]
    fn duplicates_are_told_within_limits() {
        let many = format!("{{{}\"a\":1}}", "\"a\":1,".repeat(1000));
        assert_eq!(Body::from_json(many.as_bytes()).unwrap().duplicates, ["a"]);
        let fields: String = (0..1000)
            .map(|n| format!("\"f{n}\":1,\"f{n}\":2,"))
            .collect();
        let body = Body::from_json(format!("{{{fields}\"a\":1}}").as_bytes()).unwrap();
        assert_eq!(body.duplicates.len(), MAX_DUPLICATES);
        let parent = "p".repeat(1 << 20);
        let long = format!("{{\"{parent}\":{{\"a\":1,\"a\":2}}}}");
        let body = Body::from_json(long.as_bytes()).unwrap();
        assert_eq!(
            body.duplicates,
            [format!("{}...", &parent[..DUPLICATE_BYTES])]
        );
    }

    #[test]
    fn garbage_depth_and_size_are_refused() {
        let deep = format!("{}{}", "[".repeat(101), "]".repeat(101));
        for bad in ["", "{", "{} {}", deep.as_str()] {
            assert_eq!(
                Body::from_json(bad.as_bytes()).unwrap_err().reason,
                Reason::BadRequest
            );
        }
        let large = vec![b' '; limits::REQUEST_BYTES + 1];
        let status = Body::from_json(&large).unwrap_err();
        assert_eq!(status.reason, Reason::RequestEntityTooLarge);
    }
}
