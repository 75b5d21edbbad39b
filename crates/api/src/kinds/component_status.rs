//! ComponentStatus (upstream `pkg/registry/core/componentstatus`): how the parts of the control plane fare, looked up when
//! it is read and never stored.

use k8s_openapi::api::core::v1::ComponentStatus;
use serde_json::{Value, json};

use crate::kind::{BuiltIn, Column, Hooks, Kind};
use crate::table;

/// ComponentStatus.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "componentstatus",
    short_names: &["cs"],
    namespaced: false,
    observed: true,
    deprecation: Some("v1 ComponentStatus is deprecated in v1.19+"),
    columns: &[
        Column::NAME,
        Column::text("Status", "Status of the component conditions"),
        Column::text("Message", "Message of the component conditions"),
        Column::text("Error", "Error of the component conditions"),
    ],
    hooks: Hooks { row, ..Hooks::NONE },
    ..BuiltIn::of::<ComponentStatus>()
});

/// The object of a component: healthy with what it says of itself, or why nobody knows.
pub fn of(name: &str, health: &Result<String, String>) -> Value {
    let condition = match health {
        Ok(message) => json!({"type": "Healthy", "status": "True", "message": message}),
        Err(error) => json!({"type": "Healthy", "status": "Unknown", "error": error}),
    };
    json!({
        "apiVersion": "v1", "kind": "ComponentStatus", "metadata": {"name": name},
        "conditions": [condition],
    })
}

fn row(object: &Value, _: u64) -> Vec<Value> {
    let conditions = object["conditions"].as_array().into_iter().flatten();
    let mut cells = [const { Value::Null }; 3];
    for condition in conditions.filter(|condition| condition["type"] == "Healthy") {
        let text = |field: &str| condition[field].as_str().unwrap_or_default();
        let status = match text("status") {
            "True" => "Healthy",
            _ => "Unhealthy",
        };
        cells = [status, text("message"), text("error")].map(Value::from);
    }
    let [status, message, error] = cells.map(|cell| match cell {
        Value::Null => "".into(),
        cell => cell,
    });
    vec![table::name(object), status, message, error]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_is_told_in_a_row() {
        let cells = |health| KIND.row(&of("scheduler", &health), 0);
        assert_eq!(cells(Ok("ok".into())), ["scheduler", "Healthy", "ok", ""]);
        assert_eq!(
            cells(Err("gone".into())),
            ["scheduler", "Unhealthy", "", "gone"]
        );
    }
}
