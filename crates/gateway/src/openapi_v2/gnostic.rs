//! The protobuf form of an OpenAPI v2 document: `openapi.v2.Document` of gnostic, as client-go reads it.
//!
//! Written by hand, as few of its messages are needed; responses are left out, which no reader of this form looks at.

use serde_json::Value;

use super::{OPERATIONS, fields};

/// Field numbers of the operations, in the order of [`OPERATIONS`].
const OPERATION_FIELDS: [u32; 5] = [2, 3, 4, 5, 8];

/// A message under construction.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn bytes(mut self, field: u32, bytes: &[u8]) -> Self {
        self.varint(u64::from(field << 3 | 2));
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn message(self, field: u32, message: &Message) -> Self {
        self.bytes(field, &message.0)
    }

    /// A text, unless it is absent.
    fn text(self, field: u32, value: &Value) -> Self {
        match value.as_str() {
            Some(text) => self.bytes(field, text.as_bytes()),
            None => self,
        }
    }

    fn texts(self, field: u32, value: &Value) -> Self {
        let all = value.as_array().into_iter().flatten();
        all.fold(self, |message, value| message.text(field, value))
    }

    fn flag(mut self, field: u32, value: &Value) -> Self {
        if value.as_bool() == Some(true) {
            self.varint(u64::from(field << 3));
            self.0.push(1);
        }
        self
    }

    /// `NamedX { name, value }`.
    fn named(self, field: u32, name: &str, value: &Message) -> Self {
        let named = Message::default()
            .bytes(1, name.as_bytes())
            .message(2, value);
        self.message(field, &named)
    }

    /// `x-` fields, each as YAML; JSON is.
    fn extensions(self, field: u32, of: &Value) -> Self {
        let all = fields(of).filter(|(name, _)| name.starts_with("x-"));
        all.fold(self, |message, (name, value)| {
            let any = Message::default().bytes(2, value.to_string().as_bytes());
            message.named(field, name, &any)
        })
    }
}

/// The document.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    let info = &document["info"];
    let info = Message::default()
        .text(1, &info["title"])
        .text(2, &info["version"]);
    let paths = fields(&document["paths"]).fold(Message::default(), |message, (name, found)| {
        message.named(2, name, &path(found))
    });
    Message::default()
        .text(1, &document["swagger"])
        .message(2, &info)
        .message(8, &paths)
        .message(9, &schemas(&document["definitions"]))
        .0
}

fn path(found: &Value) -> Message {
    let operations = OPERATIONS.iter().zip(OPERATION_FIELDS);
    let path = operations.fold(Message::default(), |message, (name, field)| {
        match found.get(*name) {
            Some(found) => message.message(field, &operation(found)),
            None => message,
        }
    });
    parameters(path, 9, found)
}

fn operation(found: &Value) -> Message {
    let operation = Message::default()
        .texts(1, &found["tags"])
        .text(3, &found["description"])
        .text(5, &found["operationId"])
        .texts(6, &found["produces"])
        .texts(7, &found["consumes"]);
    parameters(operation, 8, found)
        .texts(10, &found["schemes"])
        .extensions(13, found)
}

fn parameters(message: Message, field: u32, of: &Value) -> Message {
    let all = of["parameters"].as_array().into_iter().flatten();
    all.fold(message, |message, found| {
        let item = Message::default().message(1, &parameter(found));
        message.message(field, &item)
    })
}

fn parameter(found: &Value) -> Message {
    if found["in"] == "body" {
        let body = Message::default()
            .text(2, &found["name"])
            .text(3, &found["in"])
            .flag(4, &found["required"])
            .message(5, &schema(&found["schema"]));
        return Message::default().message(1, &body);
    }
    let is_query = found["in"] == "query";
    let common = Message::default()
        .flag(1, &found["required"])
        .text(2, &found["in"])
        .text(3, &found["description"])
        .text(4, &found["name"]);
    // In a query two more fields come before the type.
    let (place, of_type, of_unique) = if is_query { (3, 6, 20) } else { (4, 5, 19) };
    let common = common
        .text(of_type, &found["type"])
        .flag(of_unique, &found["uniqueItems"]);
    let other = Message::default().message(place, &common);
    Message::default().message(2, &other)
}

fn schemas(named: &Value) -> Message {
    fields(named).fold(Message::default(), |message, (name, found)| {
        message.named(1, name, &schema(found))
    })
}

fn schema(found: &Value) -> Message {
    let mut message = Message::default()
        .text(1, &found["$ref"])
        .text(2, &found["format"])
        .text(4, &found["description"])
        .texts(19, &found["required"]);
    match &found["additionalProperties"] {
        inner @ Value::Object(_) => {
            message = message.message(21, &Message::default().message(1, &schema(inner)));
        }
        inner @ Value::Bool(true) => {
            message = message.message(21, &Message::default().flag(2, inner));
        }
        _ => {}
    }
    if found["type"].is_string() {
        message = message.message(22, &Message::default().text(1, &found["type"]));
    }
    if found["items"].is_object() {
        let items = Message::default().message(1, &schema(&found["items"]));
        message = message.message(23, &items);
    }
    if found["properties"].is_object() {
        message = message.message(25, &schemas(&found["properties"]));
    }
    message.extensions(31, found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn messages_have_gnostics_field_numbers() {
        let document = json!({"swagger": "2.0", "info": {"title": "t"}, "paths": {},
            "definitions": {"A": {"type": "string", "x-y": "z"}}});
        let any = b"\x12\x03\"z\"";
        let extension = [b"\x0a\x03x-y\x12\x05".as_slice(), any].concat();
        let schema = [
            b"\xb2\x01\x08\x0a\x06string\xfa\x01\x0c".as_slice(),
            &extension,
        ]
        .concat();
        let named = [b"\x0a\x01A\x12\x1a".as_slice(), &schema].concat();
        let definitions = [b"\x4a\x21\x0a\x1f".as_slice(), &named].concat();
        let whole = [
            b"\x0a\x032.0\x12\x03\x0a\x01t\x42\x00".as_slice(),
            &definitions,
        ]
        .concat();
        assert_eq!(encode(&document), whole);
    }
}
