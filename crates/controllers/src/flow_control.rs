//! The flow schemas and priority levels that a cluster always has, and whether each schema's level is there.
//!
//! Objects that say so by annotation are kept as they are meant to be; what someone else wrote is left alone.

use std::collections::BTreeMap;

use k8s_openapi::api::flowcontrol::v1::{
    FlowSchema, FlowSchemaCondition, FlowSchemaStatus, PriorityLevelConfiguration,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kontiki_api::flowcontrol::{AUTO_UPDATE, EXEMPT, Named, flow_schemas, priority_levels};
use kontiki_api::meta::Meta;
use serde_json::{Value, json};

use crate::plan::{Plan, Write};
use crate::view::{Found, View};
use crate::{Controller, Error, Watch, WorkKey, everything};

const SCHEMAS: &str = "flowschemas.flowcontrol.apiserver.k8s.io";
const LEVELS: &str = "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io";
const DANGLING: &str = "Dangling";

/// The controller.
pub struct FlowControl;

impl Controller for FlowControl {
    fn name(&self) -> &'static str {
        "flow-control-controller"
    }

    fn watches(&self) -> &'static [Watch] {
        &[
            Watch {
                resource: SCHEMAS,
                map: everything,
            },
            Watch {
                resource: LEVELS,
                map: everything,
            },
        ]
    }

    fn initial(&self) -> Vec<WorkKey> {
        vec![WorkKey::all()]
    }

    fn reconcile(&self, view: &View<'_>, _: &WorkKey) -> Result<Plan, Error> {
        let mut plan = Plan::none();
        for (resource, objects) in [(LEVELS, priority_levels()), (SCHEMAS, flow_schemas())] {
            for object in objects {
                ensure(&mut plan, view, resource, object);
            }
        }
        let levels = view.list::<PriorityLevelConfiguration>(None)?;
        for schema in view.list::<FlowSchema>(None)? {
            let is_dangling = !levels.iter().any(|level| level.name() == level_of(&schema));
            tell(&mut plan, view, &schema, is_dangling);
        }
        Ok(plan)
    }
}

fn ensure(plan: &mut Plan, view: &View<'_>, resource: &str, (name, spec): Named) {
    let Some(found) = view.snapshot.find(resource, "", name) else {
        let metadata = ObjectMeta {
            name: Some(name.into()),
            annotations: Some(BTreeMap::from([(AUTO_UPDATE.into(), "true".into())])),
            ..ObjectMeta::default()
        };
        plan.create_value(resource, json!({"metadata": metadata, "spec": spec}));
        return;
    };
    if Meta::of(&found.value()).annotation(AUTO_UPDATE) == Some("true") {
        plan.edit(&found, |value| value["spec"] = kept(name, spec, value));
    }
}

/// The shares of the exempt level are the user's to choose.
fn kept(name: &str, mut spec: Value, stored: &Value) -> Value {
    let chosen = &stored["spec"]["exempt"];
    if name == EXEMPT && spec.get("exempt").is_some() && !chosen.is_null() {
        spec["exempt"] = chosen.clone();
    }
    spec
}

fn level_of(schema: &FlowSchema) -> &str {
    let spec = schema.spec.as_ref();
    spec.map_or("", |spec| &spec.priority_level_configuration.name)
}

/// Writes down whether the schema's level is there.
fn tell(plan: &mut Plan, view: &View<'_>, schema: &Found<FlowSchema>, is_dangling: bool) {
    let level = level_of(schema);
    let subject =
        format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?}");
    let (status, reason, message) = match is_dangling {
        true => (
            "True",
            "NotFound",
            format!("{subject} but there is no such object"),
        ),
        false => ("False", "Found", format!("{subject} and it exists")),
    };
    let mut conditions = schema.status.clone().unwrap_or_default();
    let conditions = conditions.conditions.get_or_insert_default();
    let is_ours = |condition: &FlowSchemaCondition| condition.type_.as_deref() == Some(DANGLING);
    let before = conditions.iter().find(|condition| is_ours(condition));
    let same_status = before.filter(|condition| condition.status.as_deref() == Some(status));
    let since = same_status.and_then(|condition| condition.last_transition_time.clone());
    let condition = FlowSchemaCondition {
        type_: Some(DANGLING.into()),
        status: Some(status.into()),
        reason: Some(reason.into()),
        message: Some(message),
        last_transition_time: Some(since.unwrap_or_else(|| view.now())),
    };
    conditions.retain(|condition| !is_ours(condition));
    conditions.push(condition);
    let status = FlowSchemaStatus {
        conditions: Some(std::mem::take(conditions)),
    };
    // An object that is edited in this plan gets its status in the next.
    if !plan.writes.iter().any(|write| is_about(write, schema)) {
        plan.set_status(&schema.object, &status);
    }
}

fn is_about(write: &Write, schema: &Found<FlowSchema>) -> bool {
    matches!(write, Write::Update { key, .. } if *key == schema.object.key)
}
