//! Validation of an object along its schema, in the words of upstream's validator (`kube-openapi/pkg/validation`), whose
//! messages clients know: `spec.replicas in body should be less than or equal to 10`.
//!
//! On an update, what has not changed breaks no rule (upstream's validation ratcheting). Not here: CEL (`rules`), lists
//! as sets and maps (`lists`).

use serde_json::Value;

use super::formats;
use super::structural::{Additional, Structural, Values};
use crate::field_error::FieldError;
use crate::schema::ListKind;

/// Broken rules told of one object.
const MAX_TOLD: usize = 100;

/// The rules that an object breaks. `old` is what it was before an update.
pub(crate) fn validate(schema: &Structural, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Validator { path: "" }.value(schema, new, old);
    errors.truncate(MAX_TOLD);
    errors
}

#[derive(Clone, Copy)]
struct Validator<'a> {
    /// Where the value stands, empty at the root.
    path: &'a str,
}

impl Validator<'_> {
    fn value(self, schema: &Structural, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut errors = Vec::new();
        self.check_type(schema, new, &mut errors);
        if let Some(values) = schema.values.as_deref() {
            self.check_values(values, new, old, &mut errors);
        }
        self.check_children(schema, new, old, &mut errors);
        // What was there already is nobody's fault now.
        if !errors.is_empty() && old == Some(new) {
            return Vec::new();
        }
        errors
    }

    fn check_type(self, schema: &Structural, value: &Value, errors: &mut Vec<FieldError>) {
        let wanted = match &*schema.kind {
            "" if schema.is_int_or_string => "integer,string",
            "" => return,
            wanted => wanted,
        };
        let given = type_of(value);
        let fits = match wanted {
            _ if value.is_null() => schema.nullable,
            "integer,string" => matches!(given, "integer" | "string"),
            "number" => matches!(given, "integer" | "number"),
            wanted => given == wanted,
        };
        if !fits {
            let detail = format!(
                "{} in body must be of type {wanted}: \"{given}\"",
                self.path
            );
            errors.push(FieldError::type_invalid(self.field(), given, detail));
        }
    }

    fn check_values(
        self,
        values: &Values,
        new: &Value,
        old: Option<&Value>,
        errors: &mut Vec<FieldError>,
    ) {
        self.check_junctors(values, new, old, errors);
        match new {
            Value::String(text) => self.check_text(values, text, errors),
            Value::Number(number) => {
                self.check_number(values, number.as_f64().unwrap_or_default(), new, errors);
            }
            Value::Array(items) => self.check_count(values, items.len(), errors),
            Value::Object(fields) => {
                for name in &values.required {
                    if !fields.contains_key(&**name) {
                        errors.push(FieldError::required(self.child(name), ""));
                    }
                }
                self.check_size(values, fields.len(), errors);
            }
            Value::Null | Value::Bool(_) => {}
        }
        if !values.values.is_empty() && !values.values.iter().any(|known| same(known, new)) {
            let known = values.values.iter().map(|value| match value {
                Value::String(text) => text.clone(),
                value => value.to_string(),
            });
            let known: Vec<String> = known.collect();
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            errors.push(FieldError::not_supported(self.field(), new, &known));
        }
    }

    fn check_text(self, values: &Values, text: &str, errors: &mut Vec<FieldError>) {
        let name = self.path;
        let length = || text.chars().count() as u64;
        if let Some(max) = values.max_length.filter(|max| length() > *max) {
            errors.push(FieldError::too_long(self.field(), max as usize));
        }
        if let Some(min) = values.min_length.filter(|min| length() < *min) {
            let detail = format!("{name} in body should be at least {min} chars long");
            errors.push(FieldError::invalid(self.field(), text, detail));
        }
        if let Some(pattern) = values
            .pattern
            .as_ref()
            .filter(|pattern| !pattern.is_match(text))
        {
            let detail = format!("{name} in body should match '{pattern}'");
            errors.push(FieldError::invalid(self.field(), text, detail));
        }
        if let Some(format) = values
            .format
            .as_deref()
            .filter(|format| !formats::fits(format, text))
        {
            let quoted = crate::field_error::go_quote(text);
            let detail = format!("{name} in body must be of type {format}: {quoted}");
            errors.push(FieldError::type_invalid(self.field(), text, detail));
        }
    }

    fn check_number(
        self,
        values: &Values,
        number: f64,
        value: &Value,
        errors: &mut Vec<FieldError>,
    ) {
        let name = self.path;
        let mut broken = |rule: &str, bound: f64| {
            let detail = format!("{name} in body should be {rule} {}", spelled(bound));
            errors.push(FieldError::invalid(self.field(), value, detail));
        };
        if let Some(of) = values.multiple_of
            && of != 0.0
            && (number / of).fract() != 0.0
        {
            broken("a multiple of", of);
        }
        match values.maximum {
            Some(max) if values.exclusive_maximum && number >= max => broken("less than", max),
            Some(max) if !values.exclusive_maximum && number > max => {
                broken("less than or equal to", max);
            }
            _ => {}
        }
        match values.minimum {
            Some(min) if values.exclusive_minimum && number <= min => broken("greater than", min),
            Some(min) if !values.exclusive_minimum && number < min => {
                broken("greater than or equal to", min);
            }
            _ => {}
        }
    }

    fn check_count(self, values: &Values, n_items: usize, errors: &mut Vec<FieldError>) {
        if let Some(min) = values.min_items.filter(|min| (n_items as u64) < *min) {
            let detail = format!("{} in body should have at least {min} items", self.path);
            errors.push(FieldError::invalid(self.field(), n_items, detail));
        }
        if let Some(max) = values.max_items.filter(|max| n_items as u64 > *max) {
            errors.push(FieldError::too_many(self.field(), n_items, max as usize));
        }
    }

    fn check_size(self, values: &Values, n_fields: usize, errors: &mut Vec<FieldError>) {
        if let Some(min) = values.min_properties.filter(|min| (n_fields as u64) < *min) {
            let name = self.path;
            let detail = format!("{name} in body should have at least {min} properties");
            errors.push(FieldError::invalid(self.field(), n_fields, detail));
        }
        if let Some(max) = values.max_properties.filter(|max| n_fields as u64 > *max) {
            errors.push(FieldError::too_many(self.field(), n_fields, max as usize));
        }
    }

    fn check_junctors(
        self,
        values: &Values,
        new: &Value,
        old: Option<&Value>,
        errors: &mut Vec<FieldError>,
    ) {
        let each = |schemas: &[Structural]| -> Vec<Vec<FieldError>> {
            schemas
                .iter()
                .map(|schema| self.value(schema, new, old))
                .collect()
        };
        let path = crate::field_error::go_quote(self.path);
        // Upstream tells these without a place.
        let told = |text: String| FieldError::invalid("<nil>", "", text);
        let mut any_of = each(&values.any_of);
        if !any_of.is_empty() && any_of.iter().all(|errors| !errors.is_empty()) {
            errors.append(&mut any_of[0]);
            errors.push(told(format!(
                "{path} must validate at least one schema (anyOf)"
            )));
        }
        let mut one_of = each(&values.one_of);
        let n_valid = one_of.iter().filter(|errors| errors.is_empty()).count();
        if !one_of.is_empty() && n_valid != 1 {
            let found = match n_valid {
                0 => {
                    errors.append(&mut one_of[0]);
                    "Found none valid".to_owned()
                }
                n_valid => format!("Found {n_valid} valid alternatives"),
            };
            let text = format!("{path} must validate one and only one schema (oneOf). {found}");
            errors.push(told(text));
        }
        let all_of = each(&values.all_of);
        let n_valid = all_of.iter().filter(|errors| errors.is_empty()).count();
        if n_valid < all_of.len() {
            let none = if n_valid == 0 { ". None validated" } else { "" };
            errors.extend(all_of.into_iter().flatten());
            errors.push(told(format!(
                "{path} must validate all the schemas (allOf){none}"
            )));
        }
        if let Some(not) = &values.not
            && self.value(not, new, None).is_empty()
        {
            errors.push(told(format!("{path} must not validate the schema (not)")));
        }
    }

    fn check_children(
        self,
        schema: &Structural,
        new: &Value,
        old: Option<&Value>,
        errors: &mut Vec<FieldError>,
    ) {
        match new {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let old = old.and_then(|old| old.get(name));
                    let path = self.child(name);
                    let below = Validator { path: &path };
                    match (schema.field(name), &schema.additional) {
                        (Some(of), _) => errors.extend(below.value(of, value, old)),
                        (None, Some(Additional::Any(false))) => {
                            let detail = format!("{path} in body is a forbidden property");
                            errors.push(FieldError::invalid(self.field(), "", detail));
                        }
                        _ => {}
                    }
                }
            }
            Value::Array(items) => {
                let Some(of) = &schema.items else { return };
                for (idx, item) in items.iter().enumerate() {
                    let path = format!("{}[{idx}]", self.path);
                    let old = old.and_then(|old| counterpart(schema, item, old));
                    errors.extend(Validator { path: &path }.value(of, item, old));
                }
            }
            _ => {}
        }
    }

    fn child(self, name: &str) -> String {
        match self.path {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        }
    }

    /// The place as a field error spells it.
    fn field(self) -> String {
        match self.path {
            "" => "<nil>".to_owned(),
            path => path.to_owned(),
        }
    }
}

/// The item of the old list that is the same one: only lists as maps tell.
pub(crate) fn counterpart<'a>(
    schema: &Structural,
    item: &Value,
    old: &'a Value,
) -> Option<&'a Value> {
    let Some(ListKind::Map(keys)) = &schema.list else {
        return None;
    };
    let same_key = |candidate: &&Value| {
        keys.iter()
            .all(|key| key.of(candidate).is_some() && key.of(candidate) == key.of(item))
    };
    old.as_array()?.iter().find(same_key)
}

/// The JSON type as messages name it.
pub(crate) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if is_integer(number) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn is_integer(number: &serde_json::Number) -> bool {
    !number.is_f64() || number.as_f64().is_some_and(|number| number.fract() == 0.0)
}

/// Equal as JSON values: 1 is 1.0.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (a, b) => a == b,
    }
}

/// A number as Go's `%v` prints a float.
fn spelled(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 1e21 {
        format!("{number:.0}")
    } else {
        number.to_string()
    }
}
