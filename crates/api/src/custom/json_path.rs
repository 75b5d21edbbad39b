//! JSONPath as printer columns write it (upstream's `client-go/util/jsonpath`): `.spec.replicas`,
//! `.status.conditions[?(@.type=="Ready")].status`, `.spec.ports[*].name`, `..image`.

use std::cmp::Ordering;

use serde_json::Value;

/// Steps of one path, and paths within it; more are refused.
const MAX_STEPS: usize = 256;

/// A parsed path.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct JsonPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    /// From, to, by.
    Slice(Option<i64>, Option<i64>, Option<i64>),
    Item(i64),
    Wildcard,
    Recursive,
    Union(Vec<Step>),
    Filter(Operand, Option<(Operator, Operand)>),
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Literal(Value),
    /// From the item at hand (`@`).
    Path(Vec<Step>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Why a text is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Error(String);

impl JsonPath {
    /// From its text, without braces.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let mut parser = Parser { rest: text.trim() };
        let steps = parser.steps()?;
        match parser.rest {
            "" => Ok(Self(steps)),
            rest => Err(Error(format!("unrecognized character in action: {rest}"))),
        }
    }

    /// All that it leads to.
    pub(crate) fn find<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        walk(&self.0, vec![value])
    }
}

fn walk<'a>(steps: &[Step], from: Vec<&'a Value>) -> Vec<&'a Value> {
    steps.iter().fold(from, |found, step| {
        let mut next = Vec::new();
        for value in found {
            take(step, value, &mut next);
        }
        next
    })
}

fn take<'a>(step: &Step, value: &'a Value, out: &mut Vec<&'a Value>) {
    match (step, value) {
        (Step::Field(name), value) => out.extend(value.get(name)),
        (Step::Item(at), Value::Array(items)) => {
            out.extend(index(*at, items.len()).and_then(|at| items.get(at)));
        }
        (Step::Slice(from, to, by), Value::Array(items)) => {
            let len = items.len() as i64;
            let bound = |at: i64| if at < 0 { at + len } else { at }.clamp(0, len) as usize;
            let (from, to) = (bound(from.unwrap_or(0)), bound(to.unwrap_or(len)));
            let by = by.unwrap_or(1).max(1) as usize;
            out.extend(items.get(from..to).into_iter().flatten().step_by(by));
        }
        (Step::Wildcard, Value::Array(items)) => out.extend(items),
        (Step::Wildcard, Value::Object(fields)) => out.extend(fields.values()),
        (Step::Recursive, value) => {
            out.push(value);
            let below: Vec<&Value> = match value {
                Value::Array(items) => items.iter().collect(),
                Value::Object(fields) => fields.values().collect(),
                _ => Vec::new(),
            };
            for value in below {
                take(step, value, out);
            }
        }
        (Step::Union(steps), value) => steps.iter().for_each(|step| take(step, value, out)),
        (Step::Filter(left, compared), Value::Array(items)) => {
            out.extend(items.iter().filter(|item| holds(left, compared, item)));
        }
        _ => {}
    }
}

fn index(at: i64, len: usize) -> Option<usize> {
    let at = if at < 0 { at + len as i64 } else { at };
    usize::try_from(at).ok()
}

fn holds(left: &Operand, compared: &Option<(Operator, Operand)>, item: &Value) -> bool {
    let value = |operand: &Operand| match operand {
        Operand::Literal(value) => Some(value.clone()),
        Operand::Path(steps) => walk(steps, vec![item]).first().copied().cloned(),
    };
    let Some((operator, right)) = compared else {
        return value(left).is_some();
    };
    let (Some(left), Some(right)) = (value(left), value(right)) else {
        return false;
    };
    let order = match (&left, &right) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
        (a, b) => (a == b).then_some(Ordering::Equal),
    };
    match operator {
        Operator::Equal => order == Some(Ordering::Equal),
        Operator::NotEqual => order != Some(Ordering::Equal),
        Operator::Less => order == Some(Ordering::Less),
        Operator::Greater => order == Some(Ordering::Greater),
        Operator::LessOrEqual => order.is_some_and(Ordering::is_le),
        Operator::GreaterOrEqual => order.is_some_and(Ordering::is_ge),
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn take(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn steps(&mut self) -> Result<Vec<Step>, Error> {
        let mut steps = Vec::new();
        loop {
            if steps.len() > MAX_STEPS {
                return Err(Error("too many steps".into()));
            }
            if self.take("..") {
                steps.push(Step::Recursive);
                if !self.rest.starts_with('[') {
                    steps.push(self.field());
                }
            } else if self.take(".") {
                if !self.rest.starts_with('[') && !self.rest.is_empty() {
                    steps.push(self.field());
                }
            } else if self.take("[") {
                steps.push(self.bracket()?);
            } else if steps.is_empty() && self.rest.starts_with(is_name) {
                steps.push(self.field());
            } else {
                return Ok(steps);
            }
        }
    }

    /// A name after a dot; a backslash takes the next character as it is.
    fn field(&mut self) -> Step {
        let mut name = String::new();
        let mut chars = self.rest.char_indices();
        let mut end = self.rest.len();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => name.extend(chars.next().map(|(_, c)| c)),
                c if is_name(c) => name.push(c),
                _ => {
                    end = at;
                    break;
                }
            }
        }
        self.rest = &self.rest[end..];
        match name.as_str() {
            "*" => Step::Wildcard,
            _ => Step::Field(name),
        }
    }

    fn bracket(&mut self) -> Result<Step, Error> {
        if self.take("?(") {
            return self.filter();
        }
        let mut steps = Vec::new();
        loop {
            let text = self.rest.trim_start();
            self.rest = text;
            let step = if self.take("*") {
                Step::Wildcard
            } else if text.starts_with(['\'', '"']) {
                Step::Field(self.quoted()?)
            } else {
                let end = text
                    .find([']', ','])
                    .ok_or_else(|| Error("unterminated array".into()))?;
                self.rest = &text[end..];
                slice(&text[..end])?
            };
            steps.push(step);
            self.rest = self.rest.trim_start();
            if self.take("]") {
                break;
            }
            if !self.take(",") || steps.len() > MAX_STEPS {
                return Err(Error("unterminated array".into()));
            }
        }
        Ok(match steps.len() {
            1 => steps.remove(0),
            _ => Step::Union(steps),
        })
    }

    fn quoted(&mut self) -> Result<String, Error> {
        let quote = self.rest.chars().next().unwrap_or_default();
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => text.extend(chars.next().map(|(_, c)| c)),
                c if c == quote => {
                    self.rest = &self.rest[at + c.len_utf8()..];
                    return Ok(text);
                }
                c => text.push(c),
            }
        }
        Err(Error("unterminated quoted string".into()))
    }

    fn filter(&mut self) -> Result<Step, Error> {
        let left = self.operand()?;
        self.rest = self.rest.trim_start();
        let operators = [
            ("==", Operator::Equal),
            ("!=", Operator::NotEqual),
            ("<=", Operator::LessOrEqual),
            (">=", Operator::GreaterOrEqual),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ];
        let operator = operators.into_iter().find(|(text, _)| self.take(text));
        let compared = match operator {
            Some((_, operator)) => Some((operator, self.operand()?)),
            None => None,
        };
        self.rest = self.rest.trim_start();
        if !self.take(")") || !self.take("]") {
            return Err(Error("unterminated filter".into()));
        }
        Ok(Step::Filter(left, compared))
    }

    fn operand(&mut self) -> Result<Operand, Error> {
        self.rest = self.rest.trim_start();
        if self.rest.starts_with(['\'', '"']) {
            return Ok(Operand::Literal(self.quoted()?.into()));
        }
        if self.take("@") {
            return Ok(Operand::Path(self.steps()?));
        }
        let end = self
            .rest
            .find([')', '=', '!', '<', '>', ' '])
            .unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        let value = serde_json::from_str::<Value>(text).ok();
        let value = value.filter(|value| !value.is_object() && !value.is_array());
        let unreadable = || Error(format!("unrecognized character in action: {text}"));
        value.map(Operand::Literal).ok_or_else(unreadable)
    }
}

fn is_name(c: char) -> bool {
    !matches!(
        c,
        '.' | '[' | ']' | '(' | ')' | ' ' | '=' | '!' | '<' | '>' | ',' | '{' | '}' | '@' | '?'
    )
}

/// `1`, `-1`, `0:2`, `::2`.
fn slice(text: &str) -> Result<Step, Error> {
    let wrong = || Error(format!("invalid array index {text}"));
    let number = |text: &str| match text.trim() {
        "" => Ok(None),
        text => text.parse::<i64>().map(Some).map_err(|_| wrong()),
    };
    let parts: Vec<Option<i64>> = text.split(':').map(number).collect::<Result<_, _>>()?;
    match parts[..] {
        [Some(at)] => Ok(Step::Item(at)),
        [from, to] => Ok(Step::Slice(from, to, None)),
        [from, to, by] => Ok(Step::Slice(from, to, by)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_find_what_upstreams_find() {
        let object = json!({
            "metadata": {"labels": {"a.b/c": "dotted"}},
            "spec": {"replicas": 3, "ports": [{"name": "a", "n": 1}, {"name": "b", "n": 2}]},
            "status": {"conditions": [
                {"type": "Ready", "status": "True"}, {"type": "Up", "status": "False"}]},
        });
        for (path, expected) in [
            (".spec.replicas", json!([3])),
            ("spec.replicas", json!([3])),
            (".spec['replicas']", json!([3])),
            (r".metadata.labels.a\.b/c", json!(["dotted"])),
            (".metadata.labels['a.b/c']", json!(["dotted"])),
            (".spec.ports[*].name", json!(["a", "b"])),
            (".spec.ports[0].name", json!(["a"])),
            (".spec.ports[-1].name", json!(["b"])),
            (".spec.ports[0:1].name", json!(["a"])),
            (".spec.ports[0,1].n", json!([1, 2])),
            ("..name", json!(["a", "b"])),
            (
                r#".status.conditions[?(@.type=="Ready")].status"#,
                json!(["True"]),
            ),
            (
                ".status.conditions[?(@.type != 'Ready')].status",
                json!(["False"]),
            ),
            (".spec.ports[?(@.n>1)].name", json!(["b"])),
            (".spec.ports[?(@.absent)].name", json!([])),
            (".absent.deeper", json!([])),
        ] {
            let found = JsonPath::parse(path).unwrap();
            assert_eq!(json!(found.find(&object)), expected, "{path}");
        }
        for wrong in [".a[", ".a[x]", ".a[?(@.b==", ".a]", ".a['b"] {
            assert!(JsonPath::parse(wrong).is_err(), "{wrong}");
        }
    }
}
