//! The cell that shows an autoscaler's metrics: present value and target of each, the first two in full.

use serde_json::Value;

use crate::podspec::json::{list, text};

/// Metrics shown in full.
const SHOWN: usize = 2;

/// `cpu: 20%/50%, 3/10 + 1 more...`.
pub fn targets(object: &Value) -> String {
    let metrics = list(object, "/spec/metrics");
    if metrics.is_empty() {
        return "<none>".to_owned();
    }
    let statuses = list(object, "/status/currentMetrics");
    let shown = metrics.iter().enumerate().take(SHOWN);
    let cells: Vec<String> = shown
        .map(|(i, metric)| target(metric, statuses.get(i).unwrap_or(&Value::Null)))
        .collect();
    let cells = cells.join(", ");
    match metrics.len().saturating_sub(SHOWN) {
        0 => cells,
        more => format!("{cells} + {more} more..."),
    }
}

fn target(metric: &Value, status: &Value) -> String {
    let (source, is_resource) = match text(metric, "/type") {
        "External" => ("external", false),
        "Object" => ("object", false),
        "Pods" => ("pods", false),
        "Resource" => ("resource", true),
        "ContainerResource" => ("containerResource", true),
        _ => return "<unknown type>".to_owned(),
    };
    let (wanted, current) = (&metric[source]["target"], &status[source]["current"]);
    let amount = |part: &Value, field: &str| part[field].as_str().map(str::to_owned);
    let percent = |part: &Value| {
        part["averageUtilization"]
            .as_i64()
            .map(|percent| format!("{percent}%"))
    };
    let or_unknown = |text: Option<String>| text.unwrap_or_else(|| "<unknown>".to_owned());
    let average = amount(wanted, "averageValue");
    if is_resource {
        let name = text(&metric[source], "/name");
        let (current, wanted) = match average {
            Some(wanted) => (or_unknown(amount(current, "averageValue")), wanted),
            None => {
                let wanted = percent(wanted).unwrap_or_else(|| "<auto>".to_owned());
                (or_unknown(percent(current)), wanted)
            }
        };
        return format!("{name}: {current}/{wanted}");
    }
    match average {
        Some(wanted) => {
            let suffix = if source == "pods" { "" } else { " (avg)" };
            let current = or_unknown(amount(current, "averageValue"));
            format!("{current}/{wanted}{suffix}")
        }
        None => {
            let current = or_unknown(amount(current, "value"));
            format!("{current}/{}", amount(wanted, "value").unwrap_or_default())
        }
    }
}
