//! What a call costs: after cel-go's `functionCost` and Kubernetes' `library/cost.go`.

use super::{Coster, Known, Size};
use crate::cel::ast::{Call, Expr, Literal};
use crate::cel::types::Type;

/// An authorizer's decision: no more than two of them fit into one expression.
const CHECK_COST: u64 = 350_000;
/// Longest pattern of a named format.
const FORMAT_PATTERN_BYTES: u64 = 128;

/// The receiver and the arguments of a call.
struct Parts<'e> {
    target: Option<Known<'e>>,
    target_type: Type,
    arguments: Vec<Known<'e>>,
    types: Vec<Type>,
}

impl Parts<'_> {
    fn size(&self, idx: usize) -> Size {
        self.arguments.get(idx).map_or(Size::UNKNOWN, |it| it.size)
    }

    fn target(&self) -> Size {
        self.target.map_or_else(|| self.size(0), |it| it.size)
    }

    fn is(&self, wanted: fn(&Type) -> bool) -> bool {
        self.types.iter().any(|of| wanted(of) || of.is_dyn())
    }
}

fn is_text(of: &Type) -> bool {
    matches!(of, Type::String | Type::Bytes)
}

/// Matching a text against a pattern: as long as the one, as many states as a quarter of the other's length.
fn matching(text: Size, pattern: Size) -> u64 {
    let text = text.plus(Size::exactly(1)).traversal();
    text.saturating_mul(pattern.max.div_ceil(4))
}

impl<'e> Coster<'e> {
    pub(super) fn call(&mut self, call: &Call, of: &Type) -> Known<'e> {
        let target = call.target.as_ref().map(|target| self.node(target));
        let arguments: Vec<Known<'e>> = call.arguments.iter().map(|it| self.node(it)).collect();
        let all = target.iter().chain(&arguments);
        let below = all.fold(0u64, |sum, known| sum.saturating_add(known.cost));
        let parts = Parts {
            target,
            target_type: call.target.as_ref().map_or(Type::Dyn, |it| it.of.clone()),
            types: call.arguments.iter().map(|it| it.of.clone()).collect(),
            arguments,
        };
        let (own, size) = priced(call, &parts);
        let made = Known::made(below.saturating_add(own), of);
        match size {
            Some(size) => made.sized(size),
            None => made,
        }
    }
}

/// The cost of a call beside its parts', and the size of its value where more than its type is known.
fn priced(call: &Call, parts: &Parts<'_>) -> (u64, Option<Size>) {
    let (target, first) = (parts.target(), parts.size(0));
    match &*call.function {
        "check" => (CHECK_COST, None),
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => {
            (over_elements(parts), None)
        }
        "lowerAscii" | "upperAscii" | "substring" | "trim" => (target.traversal(), Some(target)),
        "replace" => (
            target.max.div_ceil(5),
            Some(replaced(target, first, parts.size(1))),
        ),
        "split" => (
            target.max.div_ceil(5),
            Some(Size::up_to(limit(call, target))),
        ),
        "join" => {
            let size = joined(parts);
            (size.traversal(), Some(size))
        }
        "matches" => match parts.target {
            Some(text) => (matching(text.size, first), None),
            None => (matching(first, parts.size(1)), None),
        },
        "find" | "findAll" => (matching(target, first), Some(Size::up_to(target.max))),
        "contains" => {
            let cost = target.traversal().saturating_mul(first.traversal());
            (cost, None)
        }
        "startsWith" | "endsWith" => (first.traversal(), None),
        "url" | "isURL" | "cidr" | "isIP" | "isCIDR" | "quantity" | "isQuantity" | "semver"
        | "isSemver" => (first.traversal(), None),
        "ip" if parts.target.is_none() => (first.traversal(), None),
        "ip.isCanonical" => (first.max.div_ceil(5), None),
        "validate" => {
            let pattern = Size::exactly(FORMAT_PATTERN_BYTES);
            (matching(first, pattern), None)
        }
        "format" => (target.traversal(), None),
        "strings.quote" => {
            let quoted = Size {
                min: first.min.saturating_add(2),
                max: first.max.saturating_mul(2).saturating_add(2),
            };
            (first.traversal(), Some(quoted))
        }
        "bytes" if parts.is(|of| *of == Type::String) => {
            let most = first.max.saturating_mul(4);
            let size = Size {
                min: first.min,
                max: most,
            };
            (first.traversal(), Some(size))
        }
        "string" if parts.is(|of| *of == Type::Bytes) => {
            let size = Size {
                min: first.min / 4,
                max: first.max,
            };
            (first.traversal(), Some(size))
        }
        "@in" if matches!(parts.types.get(1), Some(Type::Map(_) | Type::Object(_))) => (1, None),
        "@in" => (parts.size(1).max, None),
        "_+_" => added(parts),
        "_==_" | "_!=_" => (compared(parts), None),
        "_<_" | "_<=_" | "_>_" | "_>=_" if parts.is(is_text) => (compared(parts).max(1), None),
        _ => (1, None),
    }
}

/// Each element is looked at once, all of it where it is a text.
fn over_elements(parts: &Parts<'_>) -> u64 {
    let Some(target) = &parts.target else {
        return 1;
    };
    let Type::List(list) = &parts.target_type else {
        return target.size.traversal();
    };
    let element = match is_text(&list.element) {
        true => target
            .inside(&list.element)
            .size
            .traversal()
            .saturating_add(1),
        false => 1,
    };
    target.size.max.saturating_mul(element)
}

fn replaced(text: Size, what: Size, by: Size) -> Size {
    let most = if what.min == 0 {
        // Put around every character.
        let times = text.max.saturating_add(1);
        times.saturating_mul(by.max).saturating_add(text.max)
    } else if by.max <= what.min {
        text.max
    } else {
        text.max.div_ceil(what.min).saturating_mul(by.max)
    };
    Size::up_to(most)
}

/// Parts that a text falls into: as many as it has characters, or as are asked for.
fn limit(call: &Call, text: Size) -> u64 {
    match call.arguments.get(1).map(|it| &it.expr) {
        Some(Expr::Literal(Literal::Int(most))) if *most >= 0 => most.unsigned_abs(),
        _ => text.max,
    }
}

fn joined(parts: &Parts<'_>) -> Size {
    let Some(list) = &parts.target else {
        return Size::UNKNOWN;
    };
    let texts = list
        .size
        .max
        .saturating_mul(list.inside(&Type::String).size.max);
    let between = match parts.arguments.first() {
        Some(separator) => {
            let times = list.size.max.saturating_sub(1);
            times.saturating_mul(separator.size.max)
        }
        None => 0,
    };
    Size::up_to(texts.saturating_add(between))
}

fn added(parts: &Parts<'_>) -> (u64, Option<Size>) {
    let size = parts.size(0).plus(parts.size(1));
    if parts.is(is_text) {
        (size.traversal().max(1), Some(size))
    } else if parts.is(|of| matches!(of, Type::List(_))) {
        (1, Some(size))
    } else {
        (1, None)
    }
}

/// As far as the smaller of the two goes.
fn compared(parts: &Parts<'_>) -> u64 {
    let smaller = parts.size(0).max.min(parts.size(1).max);
    Size::up_to(smaller).traversal()
}
