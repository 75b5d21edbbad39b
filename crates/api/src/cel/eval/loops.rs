//! The macros that bind names: one body, evaluated for each element.

use super::{Evaluated, Evaluator};
use crate::cel::ast::{Loop, Macro};
use crate::cel::error::EvalError;
use crate::cel::value::Value;

impl<'p, 'a> Evaluator<'p, 'a> {
    pub(super) fn looped(&mut self, found: &'p Loop) -> Evaluated<'a> {
        let range = self.evaluate(&found.range)?;
        let n_locals = self.locals.len();
        let result = match found.what {
            Macro::OptMap | Macro::OptFlatMap => self.optional(found, range),
            _ => self.each(found, &range),
        };
        self.locals.truncate(n_locals);
        result
    }

    fn optional(&mut self, found: &'p Loop, range: Value<'a>) -> Evaluated<'a> {
        let Value::Optional(value) = range else {
            return Err(EvalError::no_such_overload());
        };
        let Some(value) = value else {
            return Ok(Value::Optional(None));
        };
        self.locals.push((&found.name, (*value).clone()));
        let body = self.evaluate(&found.body)?;
        Ok(match found.what {
            Macro::OptMap => Value::some(body),
            _ => body,
        })
    }

    fn each(&mut self, found: &'p Loop, range: &Value<'a>) -> Evaluated<'a> {
        let mut result = Gathered::default();
        match (range, &found.second) {
            (Value::List(list), None) => {
                for value in list.iter() {
                    if self.step(found, (value, None), &mut result)? {
                        break;
                    }
                }
            }
            (Value::List(list), Some(_)) => {
                for (i, value) in list.iter().enumerate() {
                    if self.step(found, (Value::Int(i as i64), Some(value)), &mut result)? {
                        break;
                    }
                }
            }
            (Value::Map(map), second) => {
                self.budget.charge_tenths(map.len() as u64)?;
                for (key, value) in map.entries() {
                    let value = second.is_some().then_some(value);
                    if self.step(found, (key, value), &mut result)? {
                        break;
                    }
                }
            }
            _ => return Err(EvalError::no_such_overload()),
        }
        result.finished(found.what)
    }

    /// One element; answers whether the rest does not matter.
    fn step(
        &mut self,
        found: &'p Loop,
        (first, second): (Value<'a>, Option<Value<'a>>),
        result: &mut Gathered<'a>,
    ) -> Result<bool, EvalError> {
        self.budget.charge(1)?;
        let n_locals = self.locals.len();
        self.locals.push((&found.name, first.clone()));
        if let (Some(name), Some(value)) = (&found.second, second) {
            self.locals.push((name, value));
        }
        let done = self.gather(found, first, result);
        self.locals.truncate(n_locals);
        done
    }

    fn gather(
        &mut self,
        found: &'p Loop,
        first: Value<'a>,
        result: &mut Gathered<'a>,
    ) -> Result<bool, EvalError> {
        if let Some(filter) = &found.filter {
            match self.evaluate(filter)? {
                Value::Bool(true) => {}
                Value::Bool(false) => return Ok(false),
                _ => return Err(EvalError::no_such_overload()),
            }
        }
        let body = self.evaluate(&found.body);
        match found.what {
            Macro::All | Macro::Exists => {
                let decides = found.what == Macro::Exists;
                match body {
                    Ok(Value::Bool(value)) if value == decides => {
                        result.is_decided = true;
                        return Ok(true);
                    }
                    Ok(Value::Bool(_)) => {}
                    Ok(_) => {
                        result
                            .failed
                            .get_or_insert_with(EvalError::no_such_overload);
                    }
                    Err(EvalError::CostExceeded) => return Err(EvalError::CostExceeded),
                    Err(why) => {
                        result.failed.get_or_insert(why);
                    }
                }
            }
            Macro::ExistsOne => result.n_true += usize::from(boolean(body?)?),
            Macro::Filter => {
                if boolean(body?)? {
                    result.list.push(first);
                }
            }
            Macro::TransformMap => result.map.push((first, body?)),
            Macro::TransformMapEntry => match body? {
                Value::Map(map) => {
                    for (key, value) in map.entries() {
                        self.insert(&mut result.map, key, value)?;
                    }
                }
                _ => return Err(EvalError::no_such_overload()),
            },
            Macro::Map | Macro::OptMap | Macro::OptFlatMap => result.list.push(body?),
        }
        Ok(false)
    }
}

/// What a loop has found so far.
#[derive(Default)]
struct Gathered<'a> {
    is_decided: bool,
    failed: Option<EvalError>,
    n_true: usize,
    list: Vec<Value<'a>>,
    map: Vec<(Value<'a>, Value<'a>)>,
}

impl<'a> Gathered<'a> {
    fn finished(self, what: Macro) -> Evaluated<'a> {
        Ok(match what {
            Macro::All | Macro::Exists => match (self.is_decided, self.failed) {
                (true, _) => Value::Bool(what == Macro::Exists),
                (false, Some(why)) => return Err(why),
                (false, None) => Value::Bool(what == Macro::All),
            },
            Macro::ExistsOne => Value::Bool(self.n_true == 1),
            Macro::TransformMap | Macro::TransformMapEntry => Value::map(self.map),
            Macro::Filter | Macro::Map | Macro::OptMap | Macro::OptFlatMap => {
                Value::list(self.list)
            }
        })
    }
}

fn boolean(value: Value<'_>) -> Result<bool, EvalError> {
    match value {
        Value::Bool(value) => Ok(value),
        _ => Err(EvalError::no_such_overload()),
    }
}
