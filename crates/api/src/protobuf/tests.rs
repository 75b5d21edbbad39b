//! The table against the kinds' schemas, round trips of everything there is, and bytes that are wrong.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::table::{self, Content, Field, Label, Message};
use super::wire::{Raw, Writer as _};
use super::*;
use crate::kinds::{KINDS, by_gvk};
use crate::schema::{self, Object, Schema};

/// Makes objects with every field of the table set, none to its zero.
#[derive(Default)]
struct Sampler {
    /// Messages around the one at hand: what contains itself ends there.
    around: Vec<(&'static str, &'static str)>,
    n_made: u32,
}

impl Sampler {
    fn object(&mut self, message: &'static Message) -> Value {
        let id = (message.package, message.name);
        if self.around.contains(&id) {
            return json!({});
        }
        self.around.push(id);
        let mut object = Map::new();
        self.fields(message.fields(), &mut object);
        self.around.pop();
        object.into()
    }

    fn fields(&mut self, fields: &'static [Field], object: &mut Map<String, Value>) {
        for field in fields {
            let value = match (field.label, &field.content) {
                (_, Content::Inline(inner)) => {
                    self.fields(inner, object);
                    continue;
                }
                (Label::One, content) => self.content(content),
                (Label::List, content) => json!([self.content(content), self.content(content)]),
                (Label::Map, content) => {
                    json!({"a": self.content(content), "b/c": self.content(content)})
                }
            };
            object.insert(field.name.to_owned(), value);
        }
    }

    fn content(&mut self, content: &'static Content) -> Value {
        self.n_made += 1;
        let n = self.n_made;
        match content {
            Content::String => format!("text-{n}").into(),
            Content::Bool => true.into(),
            Content::Int32 => (n as i32 - 5000).into(),
            Content::Int64 => (i64::MIN + i64::from(n)).into(),
            Content::Double => 0.25.into(),
            Content::Bytes => "AP8=".into(),
            Content::Message(message) => self.object(message),
            Content::Inline(_) => panic!("inlined messages have no value"),
            Content::Quantity => "1500m".into(),
            Content::IntOrString if n.is_multiple_of(2) => "25%".into(),
            Content::IntOrString => 8080.into(),
            Content::Time => "2026-11-25T03:17:44Z".into(),
            Content::MicroTime => "1969-12-31T23:59:59.000001Z".into(),
            Content::Duration => "1m30.5s".into(),
            Content::Json => json!({"f:a": {".": {}}, "b": [1, null, "x"]}),
            Content::Items => json!(["get", "list"]),
            Content::SchemaOrBool if n.is_multiple_of(2) => true.into(),
            Content::SchemaOrArray if n.is_multiple_of(2) => json!([{"type": "string"}, {}]),
            Content::SchemaOrStrings if n.is_multiple_of(2) => json!(["a", "b"]),
            Content::SchemaOrBool | Content::SchemaOrArray | Content::SchemaOrStrings => {
                json!({"type": "object", "maximum": 12})
            }
        }
    }
}

/// An object of a kind with everything set.
fn full(message: &'static Message) -> Value {
    let mut object = Sampler::default().object(message);
    object["apiVersion"] = message.package.into();
    object["kind"] = message.name.into();
    object
}

fn kinds() -> impl Iterator<Item = &'static Message> {
    let all = table::all().iter();
    all.filter(|message| message.package != "meta.k8s.io/v1" && has_metadata(message))
}

fn has_metadata(message: &'static Message) -> bool {
    let mut fields = message.fields().iter();
    fields.any(|field| field.name == "metadata")
}

fn pod() -> (&'static str, &'static str) {
    ("v1", "Pod")
}

fn enveloped(kind: &str, raw: &[u8]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.delimited(TYPE_META, |out| {
        out.bytes(API_VERSION, b"v1");
        out.bytes(KIND, kind.as_bytes());
    });
    out.bytes(RAW, raw);
    out
}

#[test]
fn the_table_is_whole() {
    for message in table::all() {
        let fields = message.fields();
        assert!(
            fields.is_sorted_by(|a, b| a.number < b.number),
            "{}",
            message.name
        );
        assert!(
            fields.iter().all(|field| field.number > 0),
            "{}",
            message.name
        );
    }
    for name in [
        "ListMeta",
        "CreateOptions",
        "DeleteOptions",
        "GetOptions",
        "ListOptions",
    ] {
        assert!(knows("meta.k8s.io/v1", name) && !table::meta(name).fields().is_empty());
    }
    for name in ["PatchOptions", "Status", "UpdateOptions"] {
        assert!(!table::meta(name).fields().is_empty());
    }
    assert_eq!(table::json_schema_props().name, "JSONSchemaProps");
    assert!(knows("v1", "Status") && knows("apps/v1", "DeleteOptions"));
    assert!(!knows("stable.example.com/v1", "CronTab"));
}

#[test]
fn every_kind_and_its_list_are_known() {
    for kind in KINDS {
        let schema = kind.schema();
        let Schema::Object(object) = schema else {
            panic!("{kind:?}")
        };
        let mut seen = BTreeSet::new();
        covers(object, &mut seen);
        if kind.review().is_some() {
            continue; // never listed
        }
        let list = table::root(kind.api_version(), &kind.list_kind()).unwrap();
        let [metadata, items] = list.fields() else {
            panic!("{}", list.name)
        };
        assert_eq!(
            (metadata.number, metadata.name),
            (LIST_METADATA, "metadata")
        );
        assert_eq!((items.number, items.name), (LIST_ITEMS, "items"));
        assert!(matches!(items.content, Content::Message(item) if item.name == kind.kind()));
    }
}

/// Every field of a schema is in the table, with a type that fits.
fn covers(object: &Object, seen: &mut BTreeSet<String>) {
    if !seen.insert(object.definition.to_string()) {
        return;
    }
    let (definitions, name) = object.definition.rsplit_once('.').unwrap();
    let package = table::packages().find(|(_, known)| *known == definitions);
    let (package, _) = package.unwrap_or_else(|| panic!("no package {definitions}"));
    let message = table::root(package, name).unwrap_or_else(|| panic!("no {}", object.definition));
    for (name, field) in &object.fields {
        if matches!(&**name, "apiVersion" | "kind") && object.fields.contains_key("metadata") {
            continue;
        }
        let known = find(message.fields(), name);
        let known = known.unwrap_or_else(|| panic!("no {}.{name}", object.definition));
        let (label, inner) = match &field.schema {
            Schema::List(_) if matches!(known.content, Content::Items) => {
                (Label::One, &field.schema)
            }
            Schema::List(list) => (Label::List, &list.item),
            Schema::Map(value) => (Label::Map, &**value),
            other => (Label::One, other),
        };
        assert_eq!(known.label, label, "{}.{name}", object.definition);
        assert!(
            fits(inner, &known.content),
            "{}.{name}: {:?}",
            object.definition,
            known.content
        );
        if let Schema::Object(inner) = inner {
            covers(inner, seen);
        }
    }
}

fn find(fields: &'static [Field], name: &str) -> Option<&'static Field> {
    fields.iter().find_map(|field| match &field.content {
        Content::Inline(inner) => find(inner, name),
        _ => (field.name == name).then_some(field),
    })
}

fn fits(schema: &Schema, content: &Content) -> bool {
    match (schema, content) {
        (Schema::Object(object), Content::Message(message)) => &*object.name == message.name,
        (Schema::Later(_), content) => fits(schema.known(), content),
        (Schema::Either(_), content) => matches!(
            content,
            Content::SchemaOrBool | Content::SchemaOrArray | Content::SchemaOrStrings
        ),
        (Schema::String, Content::String)
        // In JSON, and hence in schemas, a duration is a text.
        | (Schema::String, Content::Duration)
        | (Schema::Bool, Content::Bool)
        | (Schema::Int32, Content::Int32)
        | (Schema::Int64, Content::Int64)
        | (Schema::Double, Content::Double)
        | (Schema::Bytes, Content::Bytes)
        | (Schema::IntOrString, Content::IntOrString)
        | (Schema::Quantity, Content::Quantity)
        | (Schema::Time, Content::Time)
        | (Schema::MicroTime, Content::MicroTime)
        | (Schema::Any, Content::Json)
        | (Schema::List(_), Content::Items) => true,
        (Schema::Any, content) => matches!(
            content,
            Content::SchemaOrBool | Content::SchemaOrArray | Content::SchemaOrStrings
        ),
        _ => false,
    }
}

#[test]
fn every_kind_comes_back_as_it_went() {
    let mut n_kinds = 0;
    for message in kinds() {
        let object = full(message);
        let bytes = encode(&object).unwrap();
        assert_eq!(decode(&bytes, pod()).unwrap(), object, "{}", message.name);
        // What is sampled from the table is what the schema expects.
        if let Some(kind) = by_gvk(message.package, message.name) {
            let mut checked = object.clone();
            let found = schema::check(kind.schema(), &mut checked).unwrap();
            assert_eq!(found.unknown, [""; 0], "{}", message.name);
            n_kinds += 1;
        }
        let empty = json!({"apiVersion": message.package, "kind": message.name});
        assert_eq!(decode(&encode(&empty).unwrap(), pod()).unwrap(), empty);
    }
    assert_eq!(n_kinds, KINDS.len());
    for name in [
        "DeleteOptions",
        "Status",
        "PartialObjectMetadata",
        "PartialObjectMetadataList",
    ] {
        let object = full(table::meta(name));
        assert_eq!(
            decode(&encode(&object).unwrap(), pod()).unwrap(),
            object,
            "{name}"
        );
    }
}

#[test]
fn bytes_are_gos() {
    let config_map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"},
    });
    assert_eq!(
        encode(&config_map).unwrap(),
        b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x0d\x0a\x03\x0a\x01a\x12\x06\x0a\x01k\x12\x01v\x1a\0\"\0"
    );
    // A service as Go writes it: zeros everywhere, and the time that is none.
    let metadata = b"\x0a\x01a\x12\0\x1a\0\"\0*\x002\08\0B\0";
    let port = b"\x0a\0\x12\x03TCP\x18\x50\"\x06\x08\0\x10\x50\x1a\0(\0";
    let mut raw = Vec::new();
    raw.bytes(1, metadata);
    raw.delimited(2, |out| {
        out.bytes(1, port);
        out.bytes(3, b"");
        out.bytes(4, b"ClusterIP");
        out.varint(13, 0);
        out.delimited(14, |_| {});
    });
    raw.delimited(3, |out| out.bytes(1, b""));
    assert_eq!(
        decode(&enveloped("Service", &raw), pod()).unwrap(),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"},
            "spec": {
                "ports": [{"protocol": "TCP", "port": 80, "targetPort": 80}],
                "type": "ClusterIP", "sessionAffinityConfig": {},
            },
            "status": {"loadBalancer": {}},
        })
    );
}

/// What kubectl 1.33 sent for `create NAME`, and what it printed of the same as JSON.
macro_rules! vectors {
    ($($name:literal)*) => {
        [$((
            $name,
            &include_bytes!(concat!("vectors/", $name, ".bin"))[..],
            include_str!(concat!("vectors/", $name, ".json")),
        ),)*]
    };
}

#[test]
fn what_kubectl_sends_is_what_it_prints() {
    for (name, bytes, text) in vectors! {
        "config-map" "cron-job" "deployment" "ingress" "job" "namespace" "pod-disruption-budget" "priority-class"
        "resource-quota" "role-binding" "secret" "self-subject-access-review" "service" "service-account"
        "token-request"
    } {
        let mut printed: Value = serde_json::from_str(text).unwrap();
        drop_nulls(&mut printed);
        assert_eq!(decode(bytes, pod()).unwrap(), printed, "{name}");
        assert_eq!(
            decode(&encode(&printed).unwrap(), pod()).unwrap(),
            printed,
            "{name}"
        );
    }
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

#[test]
fn zeros_are_shown_where_go_shows_them() {
    let mut raw = Vec::new();
    raw.delimited(2, |out| {
        out.varint(1, 0); // replicas, a pointer
        out.varint(5, 0); // minReadySeconds, no pointer
        out.varint(7, 0); // paused, no pointer
    });
    let spec = |raw: &[u8]| {
        let mut deployment = MAGIC.to_vec();
        deployment.delimited(TYPE_META, |out| {
            out.bytes(API_VERSION, b"apps/v1");
            out.bytes(KIND, b"Deployment");
        });
        deployment.bytes(RAW, raw);
        decode(&deployment, pod()).unwrap()["spec"].take()
    };
    assert_eq!(spec(&raw), json!({"replicas": 0}));
    // The last value of a field counts, also when it is a zero; parts of a message add up.
    raw.delimited(2, |out| {
        out.varint(5, 7);
        out.varint(5, 0);
        out.varint(7, 1);
    });
    assert_eq!(spec(&raw), json!({"replicas": 0, "paused": true}));
}

#[test]
fn nulls_in_maps_are_zeros() {
    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "status": {"disruptedPods": {"a": null, "b": "2026-11-25T03:17:44Z"}},
    });
    assert_eq!(decode(&encode(&budget).unwrap(), pod()).unwrap(), budget);
    let texts = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": null}});
    let read = decode(&encode(&texts).unwrap(), pod()).unwrap();
    assert_eq!(read["data"], json!({"a": ""}));
}

#[test]
fn numbers_come_packed_or_not() {
    let groups = |write: fn(&mut Vec<u8>)| {
        let mut raw = Vec::new();
        raw.delimited(2, |out| out.delimited(14, write));
        decode(&enveloped("Pod", &raw), pod()).unwrap()["spec"]["securityContext"].take()
    };
    let expected = json!({"supplementalGroups": [1, 300]});
    let single = groups(|out| {
        out.varint(4, 1);
        out.varint(4, 300);
    });
    assert_eq!(single, expected);
    assert_eq!(groups(|out| out.bytes(4, b"\x01\xac\x02")), expected);
}

#[test]
fn a_type_that_is_not_told_is_the_expected_one() {
    let mut bytes = MAGIC.to_vec();
    bytes.bytes(RAW, b"\x0a\x03\x0a\x01a");
    let object = decode(&bytes, pod()).unwrap();
    assert_eq!(
        object,
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}})
    );
}

#[test]
fn wrong_bytes_are_told() {
    let pod_with = |raw: &[u8]| decode(&enveloped("Pod", raw), pod()).unwrap_err();
    for (raw, why) in [
        (&b"\x0a"[..], "unexpected EOF"),
        (b"\x0a\x05\x0a", "unexpected EOF"),
        (
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            "proto: integer overflow",
        ),
        (b"\x08\x01", "proto: wrong wireType = 0 for field metadata"),
        (b"\x0b\x0c", "proto: illegal wireType 3"),
        (b"\x02\0", "proto: illegal tag 0 (wire type 2)"),
    ] {
        let error = pod_with(raw);
        assert_eq!(error.why, why, "{raw:?}");
        assert_eq!(error.told, Some(("v1".into(), "Pod".into())));
    }
    for (bytes, why) in [
        (&b""[..], "empty data"),
        (b"k8s\0", "empty body"),
        (
            b"{}",
            "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]",
        ),
        (b"k8s\0\x0a\x09", "unexpected EOF"),
    ] {
        let error = decode(bytes, pod()).unwrap_err();
        assert_eq!((error.told, &*error.why), (None, why));
    }
    let error = decode(&enveloped("Cow", b""), pod()).unwrap_err();
    assert_eq!(
        error.why,
        "no kind \"Cow\" is registered for version \"v1\""
    );
    let error = encode(&json!({"apiVersion": "x.io/v1", "kind": "Cow"})).unwrap_err();
    assert!(error.why.contains("object Cow"), "{error}");
}

#[test]
fn depth_and_number_of_values_are_bounded() {
    let mut schema = Vec::new();
    for _ in 0..200 {
        let inner = std::mem::take(&mut schema);
        schema.bytes(28, &inner); // not
    }
    let mut raw = Vec::new();
    raw.delimited(2, |out| {
        out.delimited(7, |out| out.delimited(4, |out| out.bytes(1, &schema)));
    });
    let mut bytes = MAGIC.to_vec();
    bytes.bytes(RAW, &raw);
    let kind = ("apiextensions.k8s.io/v1", "CustomResourceDefinition");
    assert_eq!(
        decode(&bytes, kind).unwrap_err().why,
        "nested deeper than 100"
    );

    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let mut raw = Vec::new();
    raw.delimited(2, |out| out.bytes(1, deep.as_bytes()));
    let mut bytes = MAGIC.to_vec();
    bytes.bytes(RAW, &raw);
    let revision = ("apps/v1", "ControllerRevision");
    assert!(decode(&bytes, revision).is_ok());
    let deep = format!("[{deep}]");
    let mut bytes = MAGIC.to_vec();
    bytes.delimited(RAW, |out| {
        out.delimited(2, |out| out.bytes(1, deep.as_bytes()))
    });
    assert_eq!(
        decode(&bytes, revision).unwrap_err().why,
        "nested deeper than 100"
    );

    let mut raw = Vec::new();
    raw.delimited(2, |out| {
        out.delimited(14, |out| out.bytes(4, &vec![1; 2 << 20]))
    });
    let error = decode(&enveloped("Pod", &raw), pod()).unwrap_err();
    assert_eq!(error.why, "more than 1572864 values");
}

#[test]
fn damaged_bytes_never_panic() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    for kind in [
        ("v1", "Service"),
        ("apps/v1", "Deployment"),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    ] {
        let whole = encode(&full(table::root(kind.0, kind.1).unwrap())).unwrap();
        for _ in 0..200 {
            let mut damaged = whole[..next(whole.len() + 1)].to_vec();
            let _ = decode(&damaged, kind);
            damaged.clone_from(&whole);
            for _ in 0..=next(4) {
                let at = next(damaged.len());
                damaged[at] ^= 1 << next(8);
            }
            if let Ok(object) = decode(&damaged, kind) {
                let _ = encode(&object);
            }
        }
    }
}

#[test]
fn events_stand_around_whole_objects() {
    let object = encode(&json!({"apiVersion": "v1", "kind": "Pod"})).unwrap();
    let event = event("ADDED", &object);
    let mut reader = Reader::new(&event);
    assert_eq!(reader.next().unwrap(), Some((1, Raw::Bytes(b"ADDED"))));
    let Some((2, Raw::Bytes(extension))) = reader.next().unwrap() else {
        panic!()
    };
    let raw = Reader::new(extension).next().unwrap();
    assert_eq!(raw, Some((1, Raw::Bytes(&object))));
    assert!(reader.is_empty());
}
