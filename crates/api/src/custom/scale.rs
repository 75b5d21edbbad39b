//! The scale subresource of a custom kind: replicas and selector where the definition says that they are.

use serde_json::{Value, json};

use crate::field_error::FieldError;
use crate::meta::{Meta, metadata_mut, object_mut};
use crate::scale;

/// Where replicas and selector stand.
#[derive(Debug)]
pub(crate) struct ScalePaths {
    spec: Box<str>,
    status: Box<str>,
    selector: Option<Box<str>>,
}

impl ScalePaths {
    pub(crate) fn of_version(version: &Value) -> Option<Self> {
        let scale = version["subresources"].get("scale")?.as_object()?;
        let text = |name: &str| scale.get(name).and_then(Value::as_str);
        Some(Self {
            spec: text("specReplicasPath").unwrap_or_default().into(),
            status: text("statusReplicasPath").unwrap_or_default().into(),
            selector: text("labelSelectorPath")
                .filter(|path| !path.is_empty())
                .map(Into::into),
        })
    }

    /// The `Scale` of an object.
    pub(crate) fn of(&self, object: &Value) -> Result<Value, String> {
        let mut scale = scale::bare(object);
        match at(object, &self.spec) {
            None | Some(Value::Null) => {
                let path = &self.spec;
                return Err(format!("the spec replicas field {path:?} does not exist"));
            }
            Some(replicas) => match replicas.as_i64() {
                Some(0) => {}
                Some(replicas) => scale["spec"]["replicas"] = replicas.into(),
                None => return Err(format!("{replicas} is no number of replicas")),
            },
        }
        let now = at(object, &self.status).and_then(Value::as_i64);
        scale["status"]["replicas"] = now.unwrap_or(0).into();
        let selector = self.selector.as_deref().and_then(|path| at(object, path));
        if let Some(Value::String(selector)) = selector.filter(|selector| **selector != "") {
            scale["status"]["selector"] = selector.as_str().into();
        }
        Ok(scale)
    }

    /// Writes the replicas of a `Scale` into its object, and its resource version as a precondition.
    pub(crate) fn apply(&self, object: &mut Value, scale: &Value) -> Result<(), Vec<FieldError>> {
        let replicas = scale.pointer("/spec/replicas").and_then(Value::as_i64);
        let replicas = replicas.unwrap_or_default();
        if replicas < 0 {
            let detail = "must be greater than or equal to 0";
            return Err(vec![FieldError::invalid("spec.replicas", replicas, detail)]);
        }
        let version = Meta::of(scale).resource_version();
        if !version.is_empty() {
            metadata_mut(object).insert("resourceVersion".to_owned(), version.into());
        }
        let mut place = object;
        let steps: Vec<&str> = self
            .spec
            .split('.')
            .filter(|step| !step.is_empty())
            .collect();
        let Some((last, parents)) = steps.split_last() else {
            return Ok(());
        };
        for step in parents {
            let fields = object_mut(place).entry((*step).to_owned());
            place = fields.or_insert_with(|| json!({}));
        }
        object_mut(place).insert((*last).to_owned(), replicas.into());
        Ok(())
    }

    /// Upstream's checks of the two numbers and the selector.
    pub(crate) fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        for path in [&self.spec, &self.status] {
            let Some(value) = at(object, path) else {
                continue;
            };
            let field = path.trim_start_matches('.');
            match value.as_i64() {
                Some(replicas) if replicas < 0 => {
                    let detail = "should be a non-negative integer";
                    errors.push(FieldError::invalid(field, replicas, detail));
                }
                Some(replicas) if replicas > i64::from(i32::MAX) => {
                    let detail = format!("should be less than or equal to {}", i32::MAX);
                    errors.push(FieldError::invalid(field, replicas, detail));
                }
                _ => {}
            }
        }
        errors
    }
}

fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    let mut steps = path.split('.').filter(|step| !step.is_empty());
    steps.try_fold(object, |value, step| value.get(step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_stand_where_the_definition_says() {
        let paths = ScalePaths::of_version(&json!({"subresources": {"scale": {
            "specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size",
            "labelSelectorPath": ".status.selector"}}}))
        .unwrap();
        let mut object = json!({"metadata": {"name": "a", "resourceVersion": "3"},
            "spec": {"size": 2}, "status": {"size": 1, "selector": "a=b"}});
        let mut scale = paths.of(&object).unwrap();
        assert_eq!(scale["spec"]["replicas"], 2);
        assert_eq!(scale["status"], json!({"replicas": 1, "selector": "a=b"}));
        scale["spec"]["replicas"] = json!(7);
        paths.apply(&mut object, &scale).unwrap();
        assert_eq!(object["spec"]["size"], 7);
        object["spec"]["size"] = json!(-1);
        assert_eq!(
            paths.validate(&object)[0].to_string(),
            "spec.size: Invalid value: -1: should be a non-negative integer"
        );
        let none = paths.of(&json!({"spec": {}})).unwrap_err();
        assert_eq!(
            none,
            "the spec replicas field \".spec.size\" does not exist"
        );
    }
}
