//! Evaluating a policy once: the failures of its validations, and its audit annotations.

use kontiki_api::cel::{self, Budget, Value as Cel, Variables, admission};
use kontiki_base::status::Reason;
use serde_json::Value;

use super::super::expressions::limited;
use super::policy::{Annotation, Policy, Validation};

/// Upstream's limit of a message that an expression made.
const MAX_MESSAGE_BYTES: usize = 5 * 1024;
/// Upstream's limit of an audit annotation's value.
const MAX_ANNOTATION_BYTES: usize = 10 * 1024;

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Decision {
    /// Validations that do not hold, with their places.
    pub(super) failures: Vec<(usize, Verdict)>,
    pub(super) annotations: Vec<(String, String)>,
    /// Annotations that could not be made and must be.
    pub(super) broken_annotations: Vec<String>,
}

/// Why a request should be refused.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) message: String,
    pub(super) reason: Reason,
}

impl Policy {
    /// Evaluates all of it for one set of parameters.
    pub(super) fn decide<'a>(
        &'a self,
        variables: Variables<'a>,
        params: Option<&'a Value>,
    ) -> Decision {
        let variables = variables
            .with("params", params.map_or(Cel::Null, Cel::json))
            .with_lazy(admission::VARIABLES, &self.variables);
        let mut decision = Decision::default();
        match self.conditions.hold(&variables) {
            Ok(true) => {}
            Ok(false) => return decision,
            Err(why) => {
                decision
                    .failures
                    .extend(self.failed(why).map(|verdict| (0, verdict)));
                return decision;
            }
        }
        let mut budget = Budget::units(cel::TOTAL_UNITS);
        for (i, validation) in self.validations.iter().enumerate() {
            let verdict = self.validate(validation, &variables, &mut budget);
            decision
                .failures
                .extend(verdict.map(|verdict| (i, verdict)));
        }
        for annotation in &self.annotations {
            match annotation.value(&variables, &mut budget) {
                Ok(None) => {}
                Ok(Some(value)) => decision.annotations.push((annotation.key.clone(), value)),
                Err(_) if self.may_fail => {}
                Err(why) => decision.broken_annotations.push(why),
            }
        }
        decision
    }

    /// What a failure to evaluate means.
    fn failed(&self, message: String) -> Option<Verdict> {
        let reason = Reason::Invalid;
        (!self.may_fail).then_some(Verdict { message, reason })
    }

    fn validate<'a>(
        &'a self,
        validation: &'a Validation,
        variables: &Variables<'a>,
        budget: &mut Budget,
    ) -> Option<Verdict> {
        let program = &validation.program;
        match limited(budget, |part| program.evaluate_bool(variables, part)) {
            Ok(true) => None,
            Ok(false) => Some(Verdict {
                message: validation.message(variables, budget),
                reason: validation.reason,
            }),
            Err(why) => {
                let expression = &validation.expression;
                self.failed(format!(
                    "expression '{expression}' resulted in error: {why}"
                ))
            }
        }
    }
}

impl Validation {
    /// The message that its expression makes, else the one that stands there, else the rule itself.
    fn message<'a>(&'a self, variables: &Variables<'a>, budget: &mut Budget) -> String {
        let made = self.message_program.as_ref().and_then(|program| {
            match limited(budget, |part| program.evaluate(variables, part)) {
                Ok(Cel::String(text)) => Some(text.trim().to_owned()),
                _ => None,
            }
        });
        let is_usable = |message: &String| {
            !message.is_empty() && message.len() <= MAX_MESSAGE_BYTES && !message.contains('\n')
        };
        match made.filter(is_usable) {
            Some(message) => message,
            None if self.message.is_empty() => format!("failed expression: {}", self.expression),
            None => self.message.clone(),
        }
    }
}

impl Annotation {
    fn value<'a>(
        &'a self,
        variables: &Variables<'a>,
        budget: &mut Budget,
    ) -> Result<Option<String>, String> {
        let evaluated = limited(budget, |part| self.program.evaluate(variables, part));
        match evaluated.map_err(|why| why.to_string())? {
            Cel::String(text) => {
                let text = text.trim();
                let end = text.floor_char_boundary(MAX_ANNOTATION_BYTES);
                Ok((!text.is_empty()).then(|| text[..end].to_owned()))
            }
            Cel::Null => Ok(None),
            _ => Err(format!(
                "valueExpression of {:?} resulted in unsupported return type",
                self.key
            )),
        }
    }
}
