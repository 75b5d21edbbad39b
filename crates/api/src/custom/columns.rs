//! Printer columns of a definition (`additionalPrinterColumns`): cells by JSONPath.

use serde_json::{Value, json};

use super::json_path::JsonPath;
use crate::kind::Column;
use crate::meta::AGE_DESCRIPTION;
use crate::time;

/// One column.
#[derive(Debug)]
pub(crate) struct PrinterColumn {
    definition: Value,
    is_text: bool,
    kind: Box<str>,
    path: Option<JsonPath>,
}

impl PrinterColumn {
    fn of(column: &Value) -> Self {
        let text = |name: &str| column[name].as_str().unwrap_or_default();
        let described = match text("description") {
            "" => format!(
                "Custom resource definition column (in JSONPath format): {}",
                text("jsonPath")
            ),
            description => description.to_owned(),
        };
        Self {
            definition: json!({
                "name": text("name"), "type": text("type"), "format": text("format"),
                "description": described, "priority": column["priority"].as_i64().unwrap_or(0),
            }),
            is_text: text("type") == "string",
            kind: text("type").into(),
            path: JsonPath::parse(text("jsonPath")).ok(),
        }
    }

    fn cell(&self, object: &Value, now_unix_ms: u64) -> Value {
        let found = self.path.as_ref().map(|path| path.find(object));
        let Some(value) = found.and_then(|found| found.first().copied()) else {
            return Value::Null;
        };
        match (&*self.kind, value) {
            _ if self.is_text => printed(value).into(),
            ("integer", Value::Number(number)) => {
                let whole = number
                    .as_i64()
                    .or_else(|| number.as_f64().map(|n| n as i64));
                whole.map_or(Value::Null, Value::from)
            }
            ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => value.clone(),
            ("date", Value::String(text)) => match time::parse(text) {
                Some(then) => time::human_since(then, now_unix_ms).into(),
                None => "<invalid>".into(),
            },
            _ => Value::Null,
        }
    }
}

/// A value as Go's JSONPath prints it.
fn printed(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "<nil>".to_owned(),
        value => value.to_string(),
    }
}

/// The columns of a version: the name, and what it defines or else the age.
pub(crate) fn of(version: &Value) -> Vec<PrinterColumn> {
    let own = version["additionalPrinterColumns"].as_array();
    match own.filter(|columns| !columns.is_empty()) {
        Some(columns) => columns.iter().map(PrinterColumn::of).collect(),
        None => vec![PrinterColumn::of(&json!({
            "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp",
            "description": AGE_DESCRIPTION,
        }))],
    }
}

/// The `columnDefinitions` of a Table.
pub(crate) fn definitions(columns: &[PrinterColumn]) -> Value {
    let own = columns.iter().map(|column| column.definition.clone());
    std::iter::once(Column::NAME.definition())
        .chain(own)
        .collect()
}

/// The cells of one object.
pub(crate) fn row(columns: &[PrinterColumn], object: &Value, now_unix_ms: u64) -> Vec<Value> {
    let own = columns
        .iter()
        .map(|column| column.cell(object, now_unix_ms));
    std::iter::once(crate::table::name(object))
        .chain(own)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_of_their_columns_type() {
        let columns = of(&json!({"additionalPrinterColumns": [
            {"name": "Spec", "type": "string", "jsonPath": ".spec.cron"},
            {"name": "N", "type": "integer", "jsonPath": ".spec.n", "priority": 1},
            {"name": "Ok", "type": "boolean", "jsonPath": ".spec.ok"},
            {"name": "Since", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
            {"name": "Obj", "type": "string", "jsonPath": ".spec.o"},
            {"name": "Wrong", "type": "integer", "jsonPath": ".spec.cron"},
            {"name": "Absent", "type": "string", "jsonPath": ".spec.absent"},
        ]}));
        let object = json!({"metadata": {"name": "x", "creationTimestamp": "1970-01-01T00:00:00Z"},
            "spec": {"cron": "* *", "n": 3, "ok": true, "o": {"a": 1}}});
        assert_eq!(
            row(&columns, &object, 60_000),
            [
                json!("x"),
                json!("* *"),
                json!(3),
                json!(true),
                json!("60s"),
                json!("{\"a\":1}"),
                Value::Null,
                Value::Null
            ]
        );
        assert_eq!(definitions(&columns)[2]["priority"], 1);
        assert_eq!(definitions(&of(&json!({})))[1]["name"], "Age");
    }
}
