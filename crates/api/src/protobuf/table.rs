//! The table of messages: for each its fields' numbers and types under their JSON names.
//!
//! Text in the binary: an index of it is made at first use, and messages are read as they are met, so that a replica
//! holds what its clients speak of. A line is a message, a word is a field:
//!
//! ```text
//! package apps/v1 io.k8s.api.apps.v1               apiVersion of the kinds, prefix of the definitions
//! ScaleSpec replicas=1:int32? selector=2.1:{}string
//! ```
//!
//! `2.1` is field 1 of a message that is field 2, and that JSON has no name for (Go inlines it). No type means text, `[]`
//! a list, `{}` a map from text. `?` marks what Go's JSON shows even when zero (a pointer, or no `omitempty`).

use std::sync::OnceLock;

/// The facts.
const TEXT: &str = include_str!("messages.txt");

/// apiVersion under which the meta types stand.
const META: &str = "meta.k8s.io/v1";

/// Meta types that upstream registers with every version.
const EVERYWHERE: &[&str] = &[
    "CreateOptions",
    "DeleteOptions",
    "GetOptions",
    "ListOptions",
    "PatchOptions",
    "Status",
    "UpdateOptions",
];

/// A message, read when it is first met.
#[derive(Debug)]
pub(super) struct Message {
    /// apiVersion of its package.
    pub package: &'static str,
    /// Its Go name.
    pub name: &'static str,
    text: &'static str,
    fields: OnceLock<Box<[Field]>>,
}

/// A field of a message.
#[derive(Debug)]
pub(super) struct Field {
    /// Its number.
    pub number: u32,
    /// Its name in JSON; empty for what JSON inlines.
    pub name: &'static str,
    /// How often it comes.
    pub label: Label,
    /// Whether JSON shows a zero.
    pub keeps_zero: bool,
    /// What it holds.
    pub content: Content,
}

/// How often a field comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Label {
    One,
    List,
    Map,
}

/// What a field holds.
#[derive(Debug)]
pub(super) enum Content {
    String,
    Bool,
    Int32,
    Int64,
    Double,
    Bytes,
    Message(&'static Message),
    /// Fields that stand in the outer object in JSON.
    Inline(Box<[Field]>),
    Quantity,
    IntOrString,
    Time,
    MicroTime,
    Duration,
    /// Bytes that are JSON.
    Json,
    /// A list of texts that protobuf wraps in a message.
    Items,
    SchemaOrBool,
    SchemaOrArray,
    SchemaOrStrings,
}

impl Message {
    /// Its fields by number.
    pub fn fields(&'static self) -> &'static [Field] {
        self.fields.get_or_init(|| {
            let words: Vec<Word> = self.text.split(' ').skip(1).map(Word::of).collect();
            read(self.package, &words, 0)
        })
    }
}

/// The message of an object's type.
pub(super) fn root(api_version: &str, kind: &str) -> Option<&'static Message> {
    let everywhere = || EVERYWHERE.contains(&kind).then(|| meta(kind));
    find(api_version, kind).or_else(everywhere)
}

/// A message of the meta package.
pub(super) fn meta(name: &str) -> &'static Message {
    find(META, name).expect("the meta package has all that is asked for by name: a test asks")
}

/// The message that describes a schema of a custom resource.
pub(super) fn json_schema_props() -> &'static Message {
    find("apiextensions.k8s.io/v1", "JSONSchemaProps").expect("the table has it: a test asks")
}

fn find(package: &str, name: &str) -> Option<&'static Message> {
    let all = all();
    let at = all.binary_search_by(|message| (message.package, message.name).cmp(&(package, name)));
    at.ok().map(|at| &all[at])
}

/// All messages, by package and name.
pub(super) fn all() -> &'static [Message] {
    static ALL: OnceLock<Vec<Message>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut package = "";
        let lines = TEXT.lines().filter(|line| !line.starts_with('#'));
        let messages = lines.filter_map(|text| {
            let mut words = text.split(' ');
            let name = words.next().unwrap_or_default();
            if name == "package" {
                package = words.next().unwrap_or_default();
                return None;
            }
            Some(Message {
                package,
                name,
                text,
                fields: OnceLock::new(),
            })
        });
        let mut messages: Vec<Message> = messages.collect();
        messages.sort_by_key(|message| (message.package, message.name));
        messages
    })
}

/// `name=path:type?`
#[derive(Debug, Clone)]
struct Word {
    name: &'static str,
    path: Vec<u32>,
    label: Label,
    keeps_zero: bool,
    kind: &'static str,
}

impl Word {
    fn of(text: &'static str) -> Self {
        let (name, rest) = text.rsplit_once('=').expect("every field has a number");
        let (rest, keeps_zero) = match rest.strip_suffix('?') {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let (path, kind) = rest.split_once(':').unwrap_or((rest, "string"));
        let (label, kind) = match (kind.strip_prefix("[]"), kind.strip_prefix("{}")) {
            (Some(kind), _) => (Label::List, kind),
            (_, Some(kind)) => (Label::Map, kind),
            _ => (Label::One, kind),
        };
        let numbers: Result<_, _> = path.split('.').map(str::parse).collect();
        Self {
            name,
            path: numbers.expect("field numbers are numbers"),
            label,
            keeps_zero,
            kind,
        }
    }
}

/// Fields of words whose paths agree before `depth`; those that go on alike make one inlined message.
fn read(package: &'static str, words: &[Word], depth: usize) -> Box<[Field]> {
    let groups = words.chunk_by(|a, b| a.path[depth] == b.path[depth]);
    let fields = groups.map(|group| {
        let word = &group[0];
        let number = word.path[depth];
        if word.path.len() > depth + 1 {
            return Field {
                number,
                name: "",
                label: Label::One,
                keeps_zero: false,
                content: Content::Inline(read(package, group, depth + 1)),
            };
        }
        Field {
            number,
            name: word.name,
            label: word.label,
            keeps_zero: word.keeps_zero,
            content: content(package, word.kind),
        }
    });
    fields.collect()
}

fn content(package: &'static str, kind: &'static str) -> Content {
    match kind {
        "string" => Content::String,
        "bool" => Content::Bool,
        "int32" => Content::Int32,
        "int64" => Content::Int64,
        "double" => Content::Double,
        "bytes" => Content::Bytes,
        "quantity" => Content::Quantity,
        "intOrString" => Content::IntOrString,
        "time" => Content::Time,
        "microTime" => Content::MicroTime,
        "duration" => Content::Duration,
        "json" => Content::Json,
        "items" => Content::Items,
        "schemaOrBool" => Content::SchemaOrBool,
        "schemaOrArray" => Content::SchemaOrArray,
        "schemaOrStrings" => Content::SchemaOrStrings,
        name => {
            let (package, name) = name.rsplit_once('.').unwrap_or((package, name));
            Content::Message(find(package, name).expect("the table is complete: a test reads all"))
        }
    }
}

/// Apiversions of the packages, and the prefixes of their definitions.
#[cfg(test)]
pub(super) fn packages() -> impl Iterator<Item = (&'static str, &'static str)> {
    let heads = TEXT
        .lines()
        .filter_map(|line| line.strip_prefix("package "));
    heads.map(|head| head.split_once(' ').unwrap())
}
