//! Label selectors: `a=b,c in (d,e),!f` and `LabelSelector` objects (upstream `pkg/labels/selector.go`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1 as types;
use serde_json::Value;

use super::lexer::{Token, tokens};
use super::{Error, Lookup};
use crate::field_error::{FieldError, go_quote};
use crate::meta::{self, names};

/// Requirements of one selector; more are refused.
const MAX_REQUIREMENTS: usize = 1000;

/// How a requirement compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// The value is one of those listed.
    In,
    /// No value, or none of those listed.
    NotIn,
    /// Some value.
    Exists,
    /// No value.
    DoesNotExist,
    /// An integer above the one listed.
    Greater,
    /// An integer below the one listed.
    Less,
}

/// One requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// Label key.
    pub key: String,
    /// Operator.
    pub operator: Operator,
    /// Values, sorted.
    pub values: BTreeSet<String>,
}

impl Requirement {
    fn new(
        key: impl Into<String>,
        operator: Operator,
        values: impl IntoIterator<Item = String>,
    ) -> Self {
        Self {
            key: key.into(),
            operator,
            values: values.into_iter().collect(),
        }
    }

    fn matches(&self, labels: &(impl Lookup + ?Sized)) -> bool {
        let value = labels.lookup(&self.key);
        match (self.operator, value) {
            (Operator::In, Some(value)) => self.values.contains(value),
            (Operator::NotIn, Some(value)) => !self.values.contains(value),
            (Operator::NotIn | Operator::DoesNotExist, None) => true,
            (Operator::Exists, value) => value.is_some(),
            (Operator::Greater, Some(value)) => self.compare(value, |left, right| left > right),
            (Operator::Less, Some(value)) => self.compare(value, |left, right| left < right),
            _ => false,
        }
    }

    fn compare(&self, value: &str, holds: fn(i64, i64) -> bool) -> bool {
        let bound = self.values.first().and_then(|bound| bound.parse().ok());
        matches!((value.parse().ok(), bound), (Some(value), Some(bound)) if holds(value, bound))
    }

    fn check(&self) -> Result<(), Error> {
        let wrong = |rule: &str, messages: Vec<String>| match messages.is_empty() {
            true => Ok(()),
            false => Err(Error(format!("{rule}: {}", messages.join("; ")))),
        };
        wrong(
            &format!("key: Invalid value: {}", go_quote(&self.key)),
            names::qualified_name(&self.key),
        )?;
        if matches!(self.operator, Operator::Greater | Operator::Less) {
            let integer = self
                .values
                .first()
                .is_some_and(|value| value.parse::<i64>().is_ok());
            if !integer {
                let detail = "for 'Gt', 'Lt' operators, the value must be an integer";
                return Err(Error(format!("values[0]: Invalid value: {detail}")));
            }
        }
        for (idx, value) in self.values.iter().enumerate() {
            let rule = format!(
                "values[{idx}][{}]: Invalid value: {}",
                self.key,
                go_quote(value)
            );
            wrong(&rule, names::label_value(value))?;
        }
        Ok(())
    }
}

/// All requirements must hold. The default one matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelSelector {
    /// Requirements, sorted by key.
    pub requirements: Vec<Requirement>,
    /// Matches nothing at all (an absent selector of a workload).
    pub nothing: bool,
}

impl LabelSelector {
    /// Matches everything.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Matches nothing.
    pub fn nothing() -> Self {
        Self {
            requirements: Vec::new(),
            nothing: true,
        }
    }

    /// From a query string; the empty one matches everything.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let tokens = tokens(text)?;
        let mut parser = Parser { tokens: &tokens };
        let mut requirements = parser.requirements()?;
        requirements.sort_by(|left, right| left.key.cmp(&right.key));
        requirements.iter().try_for_each(Requirement::check)?;
        Ok(Self {
            requirements,
            nothing: false,
        })
    }

    /// From a map in which each entry must be equal (a Service's or node selector).
    pub fn from_map(labels: &BTreeMap<String, String>) -> Self {
        let requirements = labels
            .iter()
            .map(|(key, value)| Requirement::new(key, Operator::In, [value.clone()]))
            .collect();
        Self {
            requirements,
            nothing: false,
        }
    }

    /// From a `LabelSelector` object; the empty one matches everything.
    pub fn from_object(selector: &types::LabelSelector) -> Result<Self, Error> {
        let mut requirements = selector
            .match_labels
            .as_ref()
            .map(Self::from_map)
            .unwrap_or_default()
            .requirements;
        for expression in selector.match_expressions.iter().flatten() {
            let operator = match expression.operator.as_str() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => {
                    let message =
                        format!("{} is not a valid label selector operator", go_quote(other));
                    return Err(Error(message));
                }
            };
            let values = expression.values.iter().flatten().cloned();
            requirements.push(Requirement::new(&expression.key, operator, values));
        }
        requirements.sort_by(|left, right| left.key.cmp(&right.key));
        Ok(Self {
            requirements,
            nothing: false,
        })
    }

    /// From an optional `LabelSelector` object: absent matches nothing, as in workloads' specs.
    pub fn from_option(selector: Option<&types::LabelSelector>) -> Result<Self, Error> {
        selector.map_or_else(|| Ok(Self::nothing()), Self::from_object)
    }

    /// From the JSON of a `LabelSelector` object.
    pub fn from_value(selector: &Value) -> Result<Self, Error> {
        let typed: types::LabelSelector =
            serde::Deserialize::deserialize(selector).map_err(|error| Error(error.to_string()))?;
        Self::from_object(&typed)
    }

    /// Whether the labels meet all requirements.
    pub fn matches(&self, labels: &(impl Lookup + ?Sized)) -> bool {
        !self.nothing
            && self
                .requirements
                .iter()
                .all(|requirement| requirement.matches(labels))
    }

    /// Whether it matches everything.
    pub fn is_everything(&self) -> bool {
        !self.nothing && self.requirements.is_empty()
    }
}

impl fmt::Display for LabelSelector {
    /// As a query string, the way kubectl prints selectors.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (
            idx,
            Requirement {
                key,
                operator,
                values,
            },
        ) in self.requirements.iter().enumerate()
        {
            let comma = if idx == 0 { "" } else { "," };
            let first = values.first().map(String::as_str).unwrap_or_default();
            let list = || {
                values
                    .iter()
                    .map(String::as_str)
                    .collect::<Vec<_>>()
                    .join(",")
            };
            match operator {
                Operator::In if values.len() == 1 => write!(f, "{comma}{key}={first}")?,
                Operator::In => write!(f, "{comma}{key} in ({})", list())?,
                Operator::NotIn if values.len() == 1 => write!(f, "{comma}{key}!={first}")?,
                Operator::NotIn => write!(f, "{comma}{key} notin ({})", list())?,
                Operator::Exists => write!(f, "{comma}{key}")?,
                Operator::DoesNotExist => write!(f, "{comma}!{key}")?,
                Operator::Greater => write!(f, "{comma}{key}>{first}")?,
                Operator::Less => write!(f, "{comma}{key}<{first}")?,
            }
        }
        Ok(())
    }
}

struct Parser<'a> {
    tokens: &'a [Token<'a>],
}

impl<'a> Parser<'a> {
    fn peek(&self) -> &'a Token<'a> {
        &self.tokens[0]
    }

    fn next(&mut self) -> &'a Token<'a> {
        let token = &self.tokens[0];
        if self.tokens.len() > 1 {
            self.tokens = &self.tokens[1..];
        }
        token
    }

    fn requirements(&mut self) -> Result<Vec<Requirement>, Error> {
        let mut requirements = Vec::new();
        if *self.peek() == Token::End {
            return Ok(requirements);
        }
        loop {
            if requirements.len() == MAX_REQUIREMENTS {
                return Err(Error(format!("more than {MAX_REQUIREMENTS} requirements")));
            }
            requirements.push(self.requirement()?);
            match self.next() {
                Token::End => return Ok(requirements),
                Token::Comma if matches!(self.peek(), Token::Word(_) | Token::Not) => {}
                Token::Comma => return Err(found(self.peek(), "identifier after ','")),
                other => return Err(found(other, "',' or 'end of string'")),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, Error> {
        let negated = *self.peek() == Token::Not;
        if negated {
            self.next();
        }
        let key = match self.next() {
            Token::Word(word) => *word,
            other => return Err(found(other, "identifier")),
        };
        if negated {
            return Ok(Requirement::new(key, Operator::DoesNotExist, []));
        }
        if matches!(self.peek(), Token::End | Token::Comma) {
            return Ok(Requirement::new(key, Operator::Exists, []));
        }
        let operator = match self.next() {
            Token::Word("in") => return Ok(Requirement::new(key, Operator::In, self.values()?)),
            Token::Word("notin") => {
                return Ok(Requirement::new(key, Operator::NotIn, self.values()?));
            }
            Token::Equal | Token::DoubleEqual => Operator::In,
            Token::NotEqual => Operator::NotIn,
            Token::Greater => Operator::Greater,
            Token::Less => Operator::Less,
            other => return Err(found(other, "in, notin, =, ==, !=, gt, lt")),
        };
        let value = match self.peek() {
            Token::Word(word) => {
                self.next();
                *word
            }
            Token::End | Token::Comma => "",
            other => return Err(found(other, "identifier")),
        };
        Ok(Requirement::new(key, operator, [value.to_owned()]))
    }

    fn values(&mut self) -> Result<Vec<String>, Error> {
        match self.next() {
            Token::Open => {}
            other => return Err(found(other, "'('")),
        }
        let mut values = Vec::new();
        loop {
            let value = match self.peek() {
                Token::Word(word) => {
                    self.next();
                    *word
                }
                _ => "",
            };
            values.push(value.to_owned());
            match self.next() {
                Token::Comma => {}
                Token::Close => return Ok(values),
                other => return Err(found(other, "',' or ')'")),
            }
        }
    }
}

fn found(token: &Token<'_>, expected: &str) -> Error {
    let text = token.text();
    Error(format!(
        "unable to parse requirement: found '{text}', expected: {expected}"
    ))
}

/// Rules of a `LabelSelector` object (upstream `ValidateLabelSelector`).
pub fn validate(selector: &types::LabelSelector, path: &str) -> Vec<FieldError> {
    let mut errors = meta::validate_labels_map(
        selector.match_labels.as_ref(),
        &format!("{path}.matchLabels"),
    );
    for (idx, expression) in selector.match_expressions.iter().flatten().enumerate() {
        let path = format!("{path}.matchExpressions[{idx}]");
        let values = expression.values.as_deref().unwrap_or_default();
        match expression.operator.as_str() {
            "In" | "NotIn" if values.is_empty() => errors.push(FieldError::required(
                format!("{path}.values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            )),
            "Exists" | "DoesNotExist" if !values.is_empty() => errors.push(FieldError::forbidden(
                format!("{path}.values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.push(FieldError::invalid(
                format!("{path}.operator"),
                other,
                "not a valid selector operator",
            )),
        }
        let messages = names::qualified_name(&expression.key);
        errors.extend(FieldError::invalid_each(
            &format!("{path}.key"),
            &expression.key,
            messages,
        ));
        for (idx, value) in values.iter().enumerate() {
            let path = format!("{path}.values[{idx}]");
            errors.extend(FieldError::invalid_each(
                &path,
                value,
                names::label_value(value),
            ));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn strings_match_as_upstream() {
        let labels = [("app", "web"), ("tier", "1"), ("empty", "")];
        for (text, matches) in [
            ("", true),
            ("app=web", true),
            ("app==web,tier=1", true),
            ("app != web", false),
            ("absent!=x", true),
            ("app in (api, web)", true),
            ("app notin (api,web)", false),
            ("absent notin (x)", true),
            ("app", true),
            ("!app", false),
            ("! absent", true),
            ("tier>0,tier<2", true),
            ("empty=", true),
            ("empty in (,x)", true),
        ] {
            let selector = LabelSelector::parse(text).unwrap();
            assert_eq!(selector.matches(&labels[..]), matches, "{text}");
        }
    }

    #[test]
    fn malformed_strings_are_refused() {
        for text in [
            "a=b,", "a in b", "a in (b", "=b", "a b", "!a=b", "a=b c", "-a=b", "a>b", ",a",
        ] {
            assert!(LabelSelector::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn objects_convert_and_print() {
        let selector = LabelSelector::from_value(&json!({"matchLabels": {"b": "1"},
            "matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["y", "x"]}]}));
        let selector = selector.unwrap();
        assert_eq!(selector.to_string(), "a notin (x,y),b=1");
        assert!(LabelSelector::parse("a notin (x,y),b=1").unwrap() == selector);
        assert!(!LabelSelector::nothing().matches(&json!({})));
        let wrong = json!({"matchExpressions": [{"key": "a", "operator": "Near"}]});
        assert!(LabelSelector::from_value(&wrong).is_err());
    }
}
