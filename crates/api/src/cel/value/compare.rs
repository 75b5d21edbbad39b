//! Equality and order. Numbers compare by value across their types; everything else only with its own. Each element
//! that is looked at is charged.

use std::cmp::Ordering;

use super::{List, Map, Value};
use crate::cel::Budget;
use crate::cel::error::EvalError;
use crate::cel::types::ListSemantics;

type Equal = Result<bool, EvalError>;

impl Value<'_> {
    /// `==`: false across types.
    pub fn equals(&self, other: &Value<'_>, budget: &mut Budget) -> Equal {
        budget.charge_tenths(1)?;
        Ok(match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::String(a), Value::String(b)) => {
                budget.charge_tenths(a.len().min(b.len()) as u64)?;
                a.as_str() == b.as_str()
            }
            (Value::Bytes(a), Value::Bytes(b)) => {
                budget.charge_tenths(a.len().min(b.len()) as u64)?;
                a == b
            }
            (Value::Timestamp(a), Value::Timestamp(b)) => a == b,
            (Value::Duration(a), Value::Duration(b)) => a == b,
            (Value::List(a), Value::List(b)) => return lists_equal(a, b, budget),
            (Value::Map(a), Value::Map(b)) => return maps_equal(a, b, budget),
            (Value::Optional(a), Value::Optional(b)) => match (a, b) {
                (Some(a), Some(b)) => return a.equals(b, budget),
                (None, None) => true,
                _ => false,
            },
            (Value::Type(a), Value::Type(b)) => a == b,
            (Value::Url(a), Value::Url(b)) => a == b,
            (Value::Ip(a), Value::Ip(b)) => a == b,
            (Value::Cidr(a), Value::Cidr(b)) => a == b,
            (Value::Quantity(a), Value::Quantity(b)) => a.minus(*b).sign() == 0,
            (Value::Semver(a), Value::Semver(b)) => a == b,
            (Value::Format(a), Value::Format(b)) => a.name == b.name,
            (a, b) => a.numbers(b) == Some(Ordering::Equal),
        })
    }

    /// The order of two values, none if they have none.
    pub fn order(&self, other: &Value<'_>) -> Option<Ordering> {
        match (self, other) {
            (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
            (Value::String(a), Value::String(b)) => Some(a.as_str().cmp(b.as_str())),
            (Value::Bytes(a), Value::Bytes(b)) => Some(a.cmp(b)),
            (Value::Timestamp(a), Value::Timestamp(b)) => Some(a.cmp(b)),
            (Value::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
            (a, b) => a.numbers(b),
        }
    }

    fn numbers(&self, other: &Value<'_>) -> Option<Ordering> {
        let whole = |value: &Value<'_>| match value {
            Value::Int(value) => Some(i128::from(*value)),
            Value::Uint(value) => Some(i128::from(*value)),
            _ => None,
        };
        match (self, other) {
            (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
            (Value::Double(a), b) => double_order(*a, whole(b)?),
            (a, Value::Double(b)) => double_order(*b, whole(a)?).map(Ordering::reverse),
            (a, b) => Some(whole(a)?.cmp(&whole(b)?)),
        }
    }
}

/// Exact, also where a double has no room for the number.
fn double_order(double: f64, number: i128) -> Option<Ordering> {
    if double.is_nan() {
        return None;
    }
    // Beyond any integer of 64 bits the sign decides.
    if double.abs() >= 2f64.powi(65) {
        return Some(if double > 0.0 {
            Ordering::Greater
        } else {
            Ordering::Less
        });
    }
    let whole = double.trunc();
    let order = (whole as i128).cmp(&number);
    let fraction = (double - whole).partial_cmp(&0.0);
    Some(order.then(fraction.unwrap_or(Ordering::Equal)))
}

fn lists_equal(a: &List<'_>, b: &List<'_>, budget: &mut Budget) -> Equal {
    if a.len() != b.len() {
        return Ok(false);
    }
    let semantics = a.schema().or(b.schema()).map(|of| &of.semantics);
    match semantics {
        None | Some(ListSemantics::Atomic) => {
            for (a, b) in a.iter().zip(b.iter()) {
                if !a.equals(&b, budget)? {
                    return Ok(false);
                }
            }
        }
        Some(ListSemantics::Set | ListSemantics::Map(_)) => {
            for a in a.iter() {
                if !b.has(&a, budget)? {
                    return Ok(false);
                }
            }
        }
    }
    Ok(true)
}

impl List<'_> {
    /// Whether an element equals the value.
    pub fn has(&self, value: &Value<'_>, budget: &mut Budget) -> Equal {
        for element in self.iter() {
            if element.equals(value, budget)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn maps_equal(a: &Map<'_>, b: &Map<'_>, budget: &mut Budget) -> Equal {
    if a.len() != b.len() {
        return Ok(false);
    }
    budget.charge_tenths(a.len() as u64)?;
    for (key, value) in a.entries() {
        match b.get(&key, budget)? {
            Some(other) if value.equals(&other, budget)? => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}
