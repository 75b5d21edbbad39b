//! Table cells that workloads share.

use serde_json::Value;

use super::json::{list, text};
use crate::kind::Column;

/// The wide columns of kinds with a pod template.
pub const CONTAINERS: Column =
    Column::text("Containers", "Names of each container in the template.").wide();
/// The images of those.
pub const IMAGES: Column = Column::text(
    "Images",
    "Images referenced by each container in the template.",
)
.wide();

/// Cells for [`CONTAINERS`] and [`IMAGES`]; `template` is the pointer of the template.
pub fn container_cells(object: &Value, template: &str) -> [Value; 2] {
    let containers = list(object, &format!("{template}/spec/containers"));
    let join = |field: &str| {
        let words: Vec<&str> = containers
            .iter()
            .map(|container| text(container, field))
            .collect();
        words.join(",").into()
    };
    [join("/name"), join("/image")]
}

/// Labels as `a=b,c=d`, or `<none>`.
pub fn labels(labels: Option<&Value>) -> String {
    let pairs: Vec<String> = (labels.and_then(Value::as_object).into_iter().flatten())
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    if pairs.is_empty() {
        "<none>".to_owned()
    } else {
        pairs.join(",")
    }
}
