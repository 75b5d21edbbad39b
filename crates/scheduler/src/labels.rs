//! Label selectors in a form that can be a key: two pods with equal terms share one counter.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

/// A selector: all requirements must hold; `None` inside matches nothing, as an absent selector does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selector(Option<Vec<Requirement>>);

impl Selector {
    /// From the API's form; absent selects nothing, empty selects everything.
    pub fn new(selector: Option<&LabelSelector>) -> Self {
        let Some(selector) = selector else {
            return Self(None);
        };
        let mut requirements = Vec::new();
        for (key, value) in selector.match_labels.iter().flatten() {
            requirements.push(Requirement {
                key: key.clone(),
                operator: Operator::In,
                values: vec![value.clone()],
            });
        }
        for expression in selector.match_expressions.iter().flatten() {
            let operator = match expression.operator.as_str() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                _ => return Self(None),
            };
            let mut values = expression.values.clone().unwrap_or_default();
            values.sort();
            requirements.push(Requirement {
                key: expression.key.clone(),
                operator,
                values,
            });
        }
        requirements.sort();
        Self(Some(requirements))
    }

    /// Narrows to the pod's own values of `keys` (`matchLabelKeys`), or away from them (`mismatchLabelKeys`).
    pub fn with_label_keys(mut self, keys: Option<&[String]>, labels: &Labels, same: bool) -> Self {
        let operator = if same { Operator::In } else { Operator::NotIn };
        if let Some(requirements) = &mut self.0 {
            for key in keys.unwrap_or_default() {
                let Some(value) = labels.get(key) else {
                    continue;
                };
                let (key, values) = (key.clone(), vec![value.clone()]);
                requirements.push(Requirement {
                    key,
                    operator,
                    values,
                });
            }
            requirements.sort();
            requirements.dedup();
        }
        self
    }

    /// Whether `labels` meet it.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.as_ref().is_some_and(|requirements| {
            requirements.iter().all(|requirement| {
                let value = labels.get(&requirement.key);
                let listed = value.is_some_and(|value| requirement.values.contains(value));
                match requirement.operator {
                    Operator::In => listed,
                    Operator::NotIn => !listed,
                    Operator::Exists => value.is_some(),
                    Operator::DoesNotExist => value.is_none(),
                }
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_matches_nothing_and_empty_everything() {
        let labels = Labels::from([("app".into(), "web".into())]);
        assert!(!Selector::new(None).matches(&labels));
        let all = Selector::new(Some(&LabelSelector::default()));
        assert!(all.matches(&labels));
        let keys = vec!["app".to_owned()];
        assert!(
            all.clone()
                .with_label_keys(Some(&keys), &labels, true)
                .matches(&labels)
        );
        assert!(
            !all.with_label_keys(Some(&keys), &labels, false)
                .matches(&labels)
        );
    }
}
