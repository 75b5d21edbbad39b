//! The tree of a parsed expression: what the parser builds, the checker resolves and the evaluator walks.
//!
//! Operators are calls of functions named as cel-go names them (`_+_`), so that one table holds them all. The macros that
//! loop are nodes of their own: they need no accumulator tricks and are charged and typed directly.

use std::sync::Arc;

use regex::Regex;

use super::types::Type;

/// Deepest tree that is accepted; every walk over a tree is a recursion.
pub(super) const MAX_DEPTH: u16 = 200;

/// One node.
#[derive(Debug)]
pub(super) struct Node {
    /// Byte offset in the source that errors point to.
    pub(super) at: u32,
    /// Levels below and with this one.
    pub(super) depth: u16,
    pub(super) expr: Expr,
    /// What the checker made of it.
    pub(super) of: Type,
}

/// What a node is.
#[derive(Debug)]
pub(super) enum Expr {
    Literal(Literal),
    Name(Arc<str>),
    Select(Box<Select>),
    Index(Box<Index>),
    Call(Call),
    /// More than two terms when chained, so that a chain is no deep tree.
    And(Vec<Node>),
    /// As `And`.
    Or(Vec<Node>),
    /// Condition, then, else.
    If(Box<[Node; 3]>),
    List(Vec<Element>),
    Map(Vec<Entry>),
    Loop(Box<Loop>),
}

/// A constant.
#[derive(Debug, Clone)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Arc<str>),
    Bytes(Arc<[u8]>),
}

/// `of.field`, `of.?field`, `has(of.field)`.
#[derive(Debug)]
pub(super) struct Select {
    pub(super) of: Node,
    pub(super) field: Arc<str>,
    pub(super) is_optional: bool,
    pub(super) is_test: bool,
}

/// `of[key]`, `of[?key]`.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) of: Node,
    pub(super) key: Node,
    pub(super) is_optional: bool,
}

/// A function, its receiver if any, its arguments.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) function: Arc<str>,
    pub(super) target: Option<Box<Node>>,
    pub(super) arguments: Vec<Node>,
    /// A pattern that is written out is compiled once.
    pub(super) pattern: Option<Arc<Regex>>,
}

/// An element of a list, left out when it is an empty optional.
#[derive(Debug)]
pub(super) struct Element {
    pub(super) value: Node,
    pub(super) is_optional: bool,
}

/// An entry of a map, left out when it is an empty optional.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Node,
    pub(super) value: Node,
    pub(super) is_optional: bool,
}

/// A macro that binds names and evaluates its arguments for each of them.
#[derive(Debug)]
pub(super) struct Loop {
    pub(super) what: Macro,
    pub(super) range: Node,
    pub(super) name: Arc<str>,
    /// With it the first name is the index or the key, and this one the value.
    pub(super) second: Option<Arc<str>>,
    /// The filter of a transformation.
    pub(super) filter: Option<Node>,
    pub(super) body: Node,
}

/// The macros that bind names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Macro {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
    TransformMap,
    TransformMapEntry,
    OptMap,
    OptFlatMap,
}

impl Macro {
    /// The macro of a member call by its name and number of arguments; and whether it binds two names.
    pub(super) fn of(name: &str, n_arguments: usize) -> Option<(Self, bool)> {
        Some(match (name, n_arguments) {
            ("all", 2 | 3) => (Self::All, n_arguments == 3),
            ("exists", 2 | 3) => (Self::Exists, n_arguments == 3),
            ("exists_one" | "existsOne", 2) => (Self::ExistsOne, false),
            ("existsOne", 3) => (Self::ExistsOne, true),
            ("filter", 2) => (Self::Filter, false),
            ("map", 2 | 3) => (Self::Map, false),
            ("transformList", 3 | 4) => (Self::Map, true),
            ("transformMap", 3 | 4) => (Self::TransformMap, true),
            ("transformMapEntry", 3 | 4) => (Self::TransformMapEntry, true),
            ("optMap", 2) => (Self::OptMap, false),
            ("optFlatMap", 2) => (Self::OptFlatMap, false),
            _ => return None,
        })
    }
}

impl Node {
    /// A node over children, the deepest of which has `below` levels.
    pub(super) fn new(at: u32, below: u16, expr: Expr) -> Self {
        let depth = below.saturating_add(1);
        let of = Type::Dyn;
        Self {
            at,
            depth,
            expr,
            of,
        }
    }
}

impl Select {
    /// The dotted name that a chain of plain selections spells.
    pub(super) fn qualified(node: &Node) -> Option<String> {
        match &node.expr {
            Expr::Name(name) => Some(name.to_string()),
            Expr::Select(select) if !select.is_test && !select.is_optional => {
                let root = Self::qualified(&select.of)?;
                Some(format!("{root}.{}", select.field))
            }
            _ => None,
        }
    }
}
