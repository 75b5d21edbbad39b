//! Bounds that upstream's tests of its estimator tell of the same expressions.

use super::*;
use crate::cel::{Environment, ListSemantics};

const MEBIBYTES: u64 = 3 * 1024 * 1024;

fn text(max: u64) -> Extent {
    Extent {
        max,
        below: Below::Nothing,
    }
}

fn many(max: u64, of: Extent) -> Extent {
    Extent {
        max,
        below: Below::Items(Box::new(of)),
    }
}

fn object(fields: Vec<(&str, Extent)>) -> Extent {
    let fields = fields.into_iter();
    Extent {
        max: 0,
        below: Below::Fields(fields.map(|(name, of)| (name.to_owned(), of)).collect()),
    }
}

fn cost(of: Type, extent: &Extent, source: &str) -> u64 {
    let environment = Environment::new().with("self", of);
    let program = Program::compile(source, &environment);
    program.expect(source).max_cost(&[("self", extent)])
}

#[test]
fn loops_cost_by_how_often_they_turn() {
    let numbers = Type::list_of(Type::Int, ListSemantics::Atomic);
    let extent = many(10, Extent::default());
    let of = |source: &str| cost(numbers.clone(), &extent, source);
    // self: 1, each round: 3 and the body, the end: 1.
    assert_eq!(of("self.all(x, true)"), 2 + 10 * 3);
    assert_eq!(of("self.exists(x, x > 1)"), 2 + 10 * (4 + 2));
    assert_eq!(
        of("self.all(x, self.all(y, x == y))"),
        2 + 10 * (3 + 2 + 10 * (3 + 2))
    );
    let unbounded = many(MEBIBYTES, Extent::default());
    let twice = cost(numbers, &unbounded, "self.all(x, self.all(y, x != y))");
    assert!(twice > 1_000_000_000_000);
}

#[test]
fn texts_cost_by_how_long_they_may_be() {
    let of_string = |max, source: &str| cost(Type::String, &text(max), source);
    assert_eq!(of_string(100, "self == 'abc'"), 1 + 1);
    assert_eq!(of_string(100, "self == self"), 2 + 10);
    assert_eq!(of_string(100, "self.startsWith('0123456789a')"), 1 + 2);
    assert_eq!(of_string(99, "self.matches('12345678')"), 1 + 10 * 2);
    assert_eq!(of_string(100, "self.contains('0123456789a')"), 1 + 10 * 2);
    assert_eq!(of_string(100, "(self + self).size() > 3"), 2 + 20 + 1 + 1);
    assert_eq!(of_string(100, "self.lowerAscii() == self"), 1 + 10 + 1 + 10);
}

#[test]
fn fields_elements_and_entries_are_found_in_the_schema() {
    let names = object(vec![("name", text(40))]);
    let extent = object(vec![("list", many(5, names.clone()))]);
    let item = Type::object("object", [("name".to_owned(), Type::String)]);
    let of = Type::object("object", [("list".to_owned(), Type::list(item))]);
    // self.list: 2; a round: 3, each x.name: 2, the comparison of 40 bytes: 4; the end: 1.
    let source = "self.list.all(x, x.name == x.name)";
    assert_eq!(cost(of.clone(), &extent, source), 2 + 5 * (3 + 4 + 4) + 1);
    assert_eq!(
        cost(of.clone(), &extent, "self.list[0].name == 'a'"),
        2 + 1 + 1 + 1
    );
    assert_eq!(cost(of.clone(), &extent, "has(self.list)"), 1);
    assert_eq!(
        cost(of, &extent, "self.list.map(x, x.name).exists(n, n == 'ab')"),
        2 + 5 * (12 + 2) + 11 + 5 * (4 + 1 + 1) + 1
    );
}

#[test]
fn branches_cost_what_the_dearer_one_does() {
    let of_string = |source: &str| cost(Type::String, &text(100), source);
    assert_eq!(of_string("true ? self == self : true"), 12);
    assert_eq!(of_string("self == 'a' && self == 'b' || false"), 4);
    assert_eq!(of_string("[1, 2, 3] == [1]"), 20 + 1);
}
