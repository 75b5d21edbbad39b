//! `successPolicy`: when enough indexes of a job have succeeded. The first rule that is met decides.

use std::collections::BTreeSet;

use k8s_openapi::api::batch::v1::SuccessPolicy;

use super::indexes::parse;

/// The rule that is met, in words.
pub fn met(policy: &SuccessPolicy, completed: &BTreeSet<i32>) -> Option<String> {
    let rule = policy.rules.iter().position(|rule| {
        let named = rule.succeeded_indexes.as_deref().map(parse);
        let (done, all) = match &named {
            Some(named) => (named.intersection(completed).count(), named.len()),
            None => (completed.len(), usize::MAX),
        };
        let wanted = rule
            .succeeded_count
            .map(|count| usize::try_from(count).unwrap_or(0));
        done >= wanted.unwrap_or(all)
    })?;
    Some(format!("Matched rules at index {rule}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_rule_that_is_met_decides() {
        let policy: SuccessPolicy = serde_json::from_value(json!({"rules": [
            {"succeededIndexes": "0,2-3"},
            {"succeededIndexes": "4-9", "succeededCount": 1},
            {"succeededCount": 3},
        ]}))
        .unwrap();
        let said = |done: &[i32]| met(&policy, &done.iter().copied().collect());
        assert_eq!(said(&[0, 2]), None);
        for (done, rule) in [(&[0, 2, 3][..], 0), (&[5], 1), (&[1, 0, 2], 2)] {
            assert_eq!(said(done), Some(format!("Matched rules at index {rule}")));
        }
    }
}
