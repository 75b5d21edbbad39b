//! PodTemplate: a template that stands alone (upstream `pkg/registry/core/podtemplate`).

use k8s_openapi::api::core::v1::{PodTemplate, PodTemplateSpec};
use serde_json::Value;

use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Column, Hooks, Kind};
use crate::podspec::json::{ensure, into_object, typed};
use crate::podspec::path::{Errors, Path};
use crate::podspec::{defaults, print, validate as podspec, warnings};
use crate::table;

/// PodTemplate.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "podtemplate",
    columns: &[
        Column::NAME,
        Column::text("Containers", print::CONTAINERS.description),
        Column::text("Images", print::IMAGES.description),
        Column::text("Pod Labels", "The labels of pods made of the template."),
    ],
    counts_generation: true,
    hooks: Hooks {
        default: |object| defaults::template(ensure(into_object(object), "template")),
        validate,
        warnings: |new, old| warnings::template(new, old, "template"),
        row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<PodTemplate>()
});

fn validate(new: &Value, _: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let template: PodTemplateSpec = typed(new.get("template"));
    podspec::template(&mut errors, &Path::root("template"), &template);
    errors.0
}

fn row(object: &Value, _: u64) -> Vec<Value> {
    let [names, images] = print::container_cells(object, "/template");
    let labels = print::labels(object.pointer("/template/metadata/labels"));
    vec![table::name(object), names, images, labels.into()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn templates_are_filled_in_and_checked() {
        let mut object = json!({"metadata": {"name": "t"}, "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "nginx:1"}]},
        }});
        KIND.default(&mut object);
        assert_eq!(object["template"]["spec"]["restartPolicy"], "Always");
        assert_eq!(validate(&object, None), []);
        assert_eq!(
            row(&object, 0),
            [json!("t"), json!("c"), json!("nginx:1"), json!("a=b")]
        );
        object["template"]["spec"]["containers"] = json!([]);
        assert_eq!(
            validate(&object, None)[0].to_string(),
            "template.spec.containers: Required value"
        );
    }
}
