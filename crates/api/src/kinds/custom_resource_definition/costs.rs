//! What the rules of a definition may cost: each expression, and all of a version together (upstream's
//! `StaticEstimatedCostLimit` and `StaticEstimatedCRDCostLimit`).
//!
//! A rule below a list is asked once for each element: so often counts its cost.

use crate::custom::rules::{Priced, bound_of, most_in_a_request};
use crate::custom::structural::Structural;
use crate::field_error::FieldError;

const EXPRESSION_LIMIT: u64 = 10_000_000;
const VERSION_LIMIT: u64 = 100_000_000;
/// Expressions that are told to have made a version too dear.
const MAX_TOLD: usize = 4;

/// Values of a schema in one object, at most; none when nothing bounds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cardinality(Option<u64>);

impl Cardinality {
    /// Of an object itself.
    pub(super) const ONE: Self = Self(Some(1));

    /// Of what stands in the lists or maps of a schema.
    pub(super) fn inside(self, schema: &Structural) -> Self {
        let both = self.0.zip(bound_of(schema));
        Self(both.map(|(outer, inner)| outer.saturating_mul(inner)))
    }
}

/// What the expressions of a version cost, so far.
#[derive(Debug, Default)]
pub(super) struct Costs {
    total: u64,
    dearest: Vec<(u64, String)>,
}

impl Costs {
    /// Counts the expressions of one schema; tells those that are too dear.
    pub(super) fn count(
        &mut self,
        schema: &Structural,
        is_resource: bool,
        cardinality: Cardinality,
        priced: Vec<Priced>,
    ) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if priced.is_empty() {
            return errors;
        }
        let times = cardinality.0;
        let times = times.unwrap_or_else(|| most_in_a_request(schema, is_resource));
        for Priced { path, what, cost } in priced {
            // Upstream counts a message once, whatever it is about.
            let cost = match what {
                "rule" => cost.saturating_mul(times),
                _ => cost,
            };
            if cost > EXPRESSION_LIMIT {
                let detail = exceeded(&format!("estimated {what} cost"), cost, EXPRESSION_LIMIT);
                errors.push(FieldError::forbidden(path.clone(), detail));
            }
            self.total = self.total.saturating_add(cost);
            self.dearest.push((cost, path));
            self.dearest.sort_by(|(a, _), (b, _)| b.cmp(a));
            self.dearest.truncate(MAX_TOLD);
        }
        errors
    }

    /// Whether all of them together are too dear.
    pub(super) fn finish(self, path: &str) -> Vec<FieldError> {
        if self.total <= VERSION_LIMIT {
            return Vec::new();
        }
        const CONTRIBUTED: &str = "contributed to estimated rule & messageExpression cost total exceeding cost limit for entire OpenAPIv3 schema";
        let dearest = self.dearest.into_iter();
        let mut errors: Vec<FieldError> = dearest
            .map(|(_, path)| FieldError::forbidden(path, CONTRIBUTED))
            .collect();
        let what = "x-kubernetes-validations estimated rule & messageExpression cost total for entire OpenAPIv3 schema";
        let detail = exceeded(what, self.total, VERSION_LIMIT);
        errors.push(FieldError::forbidden(path, detail));
        errors
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "told to people, with one digit behind the point"
)]
fn exceeded(what: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let factor = if factor > 100.0 {
        "more than 100x".to_owned()
    } else if factor < 1.5 {
        format!("{factor:.6}x")
    } else {
        format!("{factor:.1}x")
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::schema::validate;

    /// A schema whose list, of so many at most, is compared element by element.
    fn told(list: Value, rule: &str) -> Vec<String> {
        let rules = json!([{"rule": rule}]);
        let mut list = list;
        list["type"] = json!("array");
        list["items"] = json!({"type": "string", "maxLength": 10});
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object",
            "x-kubernetes-validations": rules, "properties": {"list": list}}}});
        let errors = validate("s", &schema, false);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_rule_that_may_run_for_ever_is_refused() {
        let rule = "self.list.all(x, self.list.all(y, x == y))";
        let detail = "exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)";
        let at = "s.properties[spec].x-kubernetes-validations[0].rule";
        let total = "rule & messageExpression cost total for entire OpenAPIv3 schema";
        let expected = [
            format!("{at}: Forbidden: estimated rule cost {detail}"),
            format!(
                "{at}: Forbidden: contributed to estimated rule & messageExpression cost total exceeding cost limit for entire OpenAPIv3 schema"
            ),
            format!("s: Forbidden: x-kubernetes-validations estimated {total} {detail}"),
        ];
        assert_eq!(told(json!({}), rule), expected);
        assert_eq!(told(json!({"maxItems": 100}), rule), [""; 0]);
        assert_eq!(told(json!({}), "self.list.size() < 10"), [""; 0]);
    }

    #[test]
    fn a_rule_below_a_list_counts_for_each_element() {
        let item = |max: Value| {
            let mut list = json!({"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}},
                "x-kubernetes-validations": [{"rule": "self.name == 'a' && self.name.contains('b')"}]}});
            if !max.is_null() {
                list["maxItems"] = max;
            }
            let schema = json!({"type": "object", "properties": {"list": list}});
            validate("s", &schema, false).len()
        };
        assert_eq!(item(json!(10)), 0);
        assert!(item(Value::Null) > 0, "as many as fit into a request");
    }
}
