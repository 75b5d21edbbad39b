//! What an expression costs at most, told before it is ever evaluated: from how large the values of its schema may be.
//!
//! After cel-go's `checker/cost.go`, in its units (those of `budget`), so that a rule is refused here where it is refused
//! upstream. Only the upper bound is kept; nothing overflows, a bound that is not known is the largest number.

mod calls;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ast::{Expr, Literal, Loop, Macro, Node};
use super::program::Program;
use super::types::Type;

/// Building a list, beside its elements.
const LIST_COST: u64 = 10;
/// Building a map, beside its entries.
const MAP_COST: u64 = 30;

/// How large the values of a schema may be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extent {
    /// Bytes of a text, elements of a list, entries of a map; 0 of what has no size.
    pub max: u64,
    /// Of what is in it.
    pub below: Below,
}

/// How large what is in a value may be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Below {
    /// Nothing that can be reached.
    #[default]
    Nothing,
    /// Elements of a list.
    Items(Box<Extent>),
    /// Values of a map.
    Values(Box<Extent>),
    /// Fields of an object, by the names that expressions use.
    Fields(BTreeMap<String, Extent>),
}

impl Program {
    /// The most that an evaluation costs, by the extents of the variables.
    pub fn max_cost(&self, variables: &[(&str, &Extent)]) -> u64 {
        let mut coster = Coster {
            variables,
            locals: Vec::new(),
        };
        coster.node(self.root()).cost
    }
}

/// Bounds of a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size {
    min: u64,
    max: u64,
}

impl Size {
    const UNKNOWN: Self = Self {
        min: 0,
        max: u64::MAX,
    };

    const fn exactly(size: u64) -> Self {
        Self {
            min: size,
            max: size,
        }
    }

    const fn up_to(max: u64) -> Self {
        Self { min: 0, max }
    }

    fn union(self, other: Self) -> Self {
        Self {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            min: self.min.saturating_add(other.min),
            max: self.max.saturating_add(other.max),
        }
    }

    /// What reading so much text costs.
    fn traversal(self) -> u64 {
        self.max.div_ceil(10)
    }
}

/// What is known of an expression.
#[derive(Debug, Clone, Copy)]
struct Known<'e> {
    cost: u64,
    size: Size,
    /// Size of its elements, where no schema tells it.
    element: Size,
    /// Where its value stands in the schema.
    extent: Option<&'e Extent>,
}

impl<'e> Known<'e> {
    /// A value of a type that comes from nowhere in the schema.
    fn made(cost: u64, of: &Type) -> Self {
        Self {
            cost,
            size: size_of(of),
            element: Size::UNKNOWN,
            extent: None,
        }
    }

    /// A value at a place of the schema, if that is known.
    fn at(cost: u64, extent: Option<&'e Extent>, of: &Type) -> Self {
        let made = Self::made(cost, of);
        match extent {
            Some(found) => Self {
                size: Size::up_to(found.max),
                extent,
                ..made
            },
            None => made,
        }
    }

    fn sized(self, size: Size) -> Self {
        Self { size, ..self }
    }

    fn costing(self, cost: u64) -> Self {
        Self { cost, ..self }
    }

    /// An element of the list, or the value of an entry.
    fn inside(&self, of: &Type) -> Self {
        let extent = self.extent.and_then(Extent::inside);
        let found = Self::at(1, extent, of);
        match (extent, self.element) {
            (None, element) if element != Size::UNKNOWN => found.sized(element),
            _ => found,
        }
    }
}

impl Extent {
    fn inside(&self) -> Option<&Self> {
        match &self.below {
            Below::Items(inner) | Below::Values(inner) => Some(inner),
            _ => None,
        }
    }

    fn field(&self, name: &str) -> Option<&Self> {
        match &self.below {
            Below::Fields(fields) => fields.get(name),
            _ => None,
        }
    }
}

/// The size of a value of which nothing but its type is known.
fn size_of(of: &Type) -> Size {
    match of {
        Type::Bool
        | Type::Int
        | Type::Uint
        | Type::Double
        | Type::Timestamp
        | Type::Duration
        | Type::Null => Size::exactly(1),
        _ => Size::UNKNOWN,
    }
}

struct Coster<'e> {
    variables: &'e [(&'e str, &'e Extent)],
    locals: Vec<(Arc<str>, Known<'e>)>,
}

impl<'e> Coster<'e> {
    fn node(&mut self, node: &Node) -> Known<'e> {
        let of = &node.of;
        match &node.expr {
            Expr::Literal(literal) => Known::made(0, of).sized(literal_size(literal)),
            Expr::Name(name) => self.name(name, of),
            Expr::Select(select) => {
                let operand = self.node(&select.of);
                if select.is_optional {
                    return Known::made(operand.cost.saturating_add(1), of);
                }
                // A test of presence costs nothing beside its operand.
                let selects = matches!(
                    select.of.of,
                    Type::Map(_) | Type::Object(_) | Type::Param(_)
                );
                let own = u64::from(selects && !select.is_test);
                let extent = operand.extent.and_then(|it| it.field(&select.field));
                let extent = extent.filter(|_| !select.is_test);
                Known::at(operand.cost.saturating_add(own), extent, of)
            }
            Expr::Index(index) => {
                let (operand, key) = (self.node(&index.of), self.node(&index.key));
                let cost = operand.cost.saturating_add(key.cost).saturating_add(1);
                if index.is_optional {
                    return Known::made(cost, of);
                }
                operand.inside(of).costing(cost)
            }
            Expr::Call(call) => self.call(call, of),
            Expr::And(terms) | Expr::Or(terms) => Known::made(self.sum(terms), of),
            Expr::If(parts) => {
                let [condition, then, otherwise] = &**parts;
                let condition = self.node(condition).cost;
                let (then, otherwise) = (self.node(then), self.node(otherwise));
                let cost = condition.saturating_add(then.cost.max(otherwise.cost));
                Known::made(cost, of).sized(then.size.union(otherwise.size))
            }
            Expr::List(elements) => {
                let mut list =
                    Known::made(LIST_COST, of).sized(Size::exactly(elements.len() as u64));
                let mut element: Option<Size> = None;
                for found in elements {
                    let found = self.node(&found.value);
                    list.cost = list.cost.saturating_add(found.cost);
                    element = Some(element.map_or(found.size, |size| size.union(found.size)));
                }
                list.element = element.unwrap_or(Size::exactly(0));
                list
            }
            Expr::Map(entries) => {
                let parts = entries.iter().flat_map(|entry| [&entry.key, &entry.value]);
                let cost = self.sum(parts).saturating_add(MAP_COST);
                Known::made(cost, of).sized(Size::exactly(entries.len() as u64))
            }
            Expr::Loop(found) => self.looped(found, of),
        }
    }

    fn sum<'n>(&mut self, nodes: impl IntoIterator<Item = &'n Node>) -> u64 {
        let costs = nodes.into_iter().map(|node| self.node(node).cost);
        costs.fold(0, u64::saturating_add)
    }

    fn name(&self, name: &str, of: &Type) -> Known<'e> {
        let mut locals = self.locals.iter().rev();
        if let Some((_, known)) = locals.find(|(local, _)| **local == *name) {
            return known.costing(1);
        }
        let known = self.variables.iter().find(|(known, _)| *known == name);
        Known::at(1, known.map(|(_, extent)| *extent), of)
    }

    /// A macro, as the loop that it stands for upstream: what each round costs beside its arguments.
    fn looped(&mut self, found: &Loop, of: &Type) -> Known<'e> {
        let range = self.node(&found.range);
        let n_locals = self.locals.len();
        self.bind(found, &range);
        let filter = found.filter.as_ref().map(|filter| self.node(filter).cost);
        let body = self.node(&found.body);
        self.locals.truncate(n_locals);
        if matches!(found.what, Macro::OptMap | Macro::OptFlatMap) {
            let bound = range.cost.saturating_add(LIST_COST + 3);
            let cost = range.cost.saturating_add(bound).saturating_add(body.cost);
            return Known::made(cost, of);
        }
        let body_cost = body.cost.saturating_add(filter.unwrap_or(0));
        // (before the loop, a round beside the body, after the loop)
        let (begins, round, ends) = match found.what {
            Macro::All => (0, 3, 1),
            Macro::Exists => (0, 4, 1),
            Macro::ExistsOne => (0, 2, 2),
            Macro::Filter => (LIST_COST, LIST_COST + 3, 1),
            Macro::Map => (LIST_COST, LIST_COST + 2, 1),
            _ => (MAP_COST, 3, 1),
        };
        let rounds = range
            .size
            .max
            .saturating_mul(body_cost.saturating_add(round));
        let cost = range
            .cost
            .saturating_add(rounds)
            .saturating_add(begins + ends);
        let made = Known::made(cost, of);
        match found.what {
            Macro::All | Macro::Exists | Macro::ExistsOne => made,
            Macro::Filter => Known {
                size: Size::up_to(range.size.max),
                element: range.inside(of).size,
                ..made
            },
            _ => Known {
                size: Size::up_to(range.size.max),
                element: body.size,
                ..made
            },
        }
    }

    fn bind(&mut self, found: &Loop, range: &Known<'e>) {
        let of = &found.range.of;
        let is_map = matches!(of, Type::Map(_) | Type::Object(_));
        let inner = match of {
            Type::List(list) => &list.element,
            Type::Map(map) => &map.1,
            Type::Optional(value) => value,
            _ => &Type::Dyn,
        };
        let value = range.inside(inner);
        // The keys of a map have no bound of their own upstream.
        let key = match (is_map, range.extent) {
            (true, Some(_)) => Known::made(1, &Type::String).sized(Size::up_to(0)),
            (true, None) => Known::made(1, &Type::String),
            (false, _) => Known::made(1, &Type::Int),
        };
        let bound = match (&found.second, is_map) {
            (Some(second), _) => vec![(found.name.clone(), key), (second.clone(), value)],
            (None, true) => vec![(found.name.clone(), key)],
            (None, false) => vec![(found.name.clone(), value)],
        };
        self.locals.extend(bound);
    }
}

fn literal_size(literal: &Literal) -> Size {
    Size::exactly(match literal {
        Literal::String(text) => text.len() as u64,
        Literal::Bytes(bytes) => bytes.len() as u64,
        _ => 1,
    })
}
