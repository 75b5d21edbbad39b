//! Subresources of pods that act: binding, and in a file of its own eviction.

mod eviction;

use kontiki_api::field_error::invalid_status;
use kontiki_api::kinds::{binding, pod};
use kontiki_api::meta::{Meta, metadata_mut};
use kontiki_base::status::{Details, Reason, Status};
use serde_json::{Value, json};

use crate::body::Body;
use crate::decode::decode;
use crate::errors::conflict;
use crate::modify::Change;
use crate::options::{Answer, Context, Target, WriteOptions, Written};
use crate::server::ApiServer;
use crate::verbs::delete::success;

impl ApiServer {
    /// Gives the pod of a Binding's name its node (`bindings`).
    pub(crate) async fn bind_by_name(
        &self,
        context: &Context,
        target: &Target,
        body: Body,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        let name = Meta::of(&body.value).name().to_owned();
        if name.is_empty() {
            return Err(Status::bad_request(
                "name must be provided for the Binding: it is the pod's",
            ));
        }
        let pod = Target::object(&pod::KIND, target.namespace.as_str(), name);
        self.bind_pod(context, target, &pod, body, options).await
    }

    /// Gives a pod its node; only once.
    pub(crate) async fn bind(
        &self,
        context: &Context,
        target: &Target,
        body: Body,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        let pod = Target {
            subresource: None,
            ..target.clone()
        };
        self.bind_pod(context, target, &pod, body, options).await
    }

    async fn bind_pod(
        &self,
        context: &Context,
        target: &Target,
        pod: &Target,
        body: Body,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        let mut warnings = Vec::new();
        let validation = options.field_validation;
        let mut binding = decode(&binding::KIND, body, validation, &mut warnings)?;
        check_name(pod, &binding, "Binding")?;
        warnings.extend(
            self.admit_action(context, target, &mut binding, options)
                .await?,
        );
        let errors = pod::validate_binding(&binding);
        if !errors.is_empty() {
            return Err(invalid_status("", "Binding", &pod.name, &errors));
        }
        let node = binding["target"]["name"].as_str().unwrap_or_default();
        let now = self.now_text();
        self.modify(context, pod, options, |old, _| {
            check_bindable(pod, &binding, old)?;
            Ok(Change {
                is_admitted: true,
                ..Change::to(bound(old, node, &binding, &now))
            })
        })
        .await?;
        Ok(created_success(warnings))
    }
}

fn created_success(warnings: Vec<String>) -> Written {
    let object = Answer::Rendered(success(None));
    Written {
        object,
        created: true,
        accepted: false,
        warnings,
    }
}

fn expect_kind(body: &Value, kind: &str, versions: &[&str]) -> Result<(), Status> {
    let sent = body["kind"].as_str().unwrap_or(kind);
    let version = body["apiVersion"].as_str().unwrap_or(versions[0]);
    if body.is_object() && sent == kind && versions.contains(&version) {
        return Ok(());
    }
    let message = format!(
        "the object provided is unrecognized (must be of type {kind}): got {version}, Kind={sent}"
    );
    Err(Status::bad_request(message))
}

fn check_name(target: &Target, body: &Value, kind: &str) -> Result<(), Status> {
    let meta = Meta::of(body);
    if !meta.name().is_empty() && meta.name() != target.name {
        return Err(Status::bad_request(format!(
            "name in URL does not match name in {kind} object"
        )));
    }
    if !meta.namespace().is_empty() && meta.namespace() != target.namespace {
        let message =
            "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Status::bad_request(message));
    }
    Ok(())
}

fn check_bindable(target: &Target, binding: &Value, pod: &Value) -> Result<(), Status> {
    let (name, meta, sent) = (&target.name, Meta::of(pod), Meta::of(binding));
    let refuse = |why: String| {
        let message = format!("Operation cannot be fulfilled on pods/binding \"{name}\": {why}");
        Err(
            Status::new(Reason::Conflict, message).with_details(Details {
                name: name.clone(),
                kind: "pods/binding".into(),
                ..Details::default()
            }),
        )
    };
    if !sent.uid().is_empty() && sent.uid() != meta.uid() {
        return refuse(format!(
            "Precondition failed: UID in precondition: {}, UID in object meta: {}",
            sent.uid(),
            meta.uid()
        ));
    }
    if !sent.resource_version().is_empty() && sent.resource_version() != meta.resource_version() {
        return Err(conflict(&target.kind, name, crate::errors::MODIFIED));
    }
    if meta.is_deleting() {
        return refuse(format!(
            "pod {name} is being deleted, cannot be assigned to a host"
        ));
    }
    let node = pod
        .pointer("/spec/nodeName")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !node.is_empty() {
        return refuse(format!("pod {name} is already assigned to node \"{node}\""));
    }
    let gates = pod
        .pointer("/spec/schedulingGates")
        .and_then(Value::as_array);
    if gates.is_some_and(|gates| !gates.is_empty()) {
        return refuse(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    Ok(())
}

/// The pod on its node, with the condition that says so.
fn bound(pod: &Value, node: &str, binding: &Value, now: &str) -> Value {
    let mut pod = pod.clone();
    pod["spec"]["nodeName"] = json!(node);
    for field in ["annotations", "labels"] {
        let Some(sent) = binding["metadata"][field].as_object() else {
            continue;
        };
        let metadata = metadata_mut(&mut pod);
        let own = metadata.entry(field).or_insert_with(|| json!({}));
        for (name, value) in sent {
            own[name.as_str()] = value.clone();
        }
    }
    let condition = json!({
        "type": "PodScheduled",
        "status": "True",
        "lastProbeTime": null,
        "lastTransitionTime": now,
    });
    if !pod["status"].is_object() {
        pod["status"] = json!({});
    }
    let conditions = pod["status"]["conditions"].take();
    let mut conditions = conditions.as_array().cloned().unwrap_or_default();
    match conditions
        .iter_mut()
        .find(|other| other["type"] == "PodScheduled")
    {
        Some(other) => *other = condition,
        None => conditions.push(condition),
    }
    pod["status"]["conditions"] = json!(conditions);
    pod
}
