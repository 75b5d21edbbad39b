//! Logs of a container, through the tunnel to its node.

use kontiki_api::field_error::invalid_status;
use kontiki_api::{FieldError, Subresource};
use kontiki_base::status::Status;
use serde_json::Value;

use crate::options::{Context, Target};
use crate::server::ApiServer;
use crate::tunnel::{LogOptions, LogRequest, LogStream};

impl ApiServer {
    /// A container's log.
    pub async fn logs(
        &self,
        context: &Context,
        target: &Target,
        options: LogOptions,
    ) -> Result<LogStream, Status> {
        let target = target.clone().with(Subresource::Log);
        self.authorize(context, "get", &target).await?;
        check_options(&options)?;
        let pod = self.current(context, &target).await?;
        let pod_uid = pod.header.uid.to_string();
        let pod = pod.value();
        let container = container_of(&pod, options.container.as_deref(), &target.name)?;
        let node = pod
            .pointer("/spec/nodeName")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if node.is_empty() {
            return Ok(Box::pin(futures::stream::empty()));
        }
        check_started(&pod, &container, &target.name, options.previous)?;
        let request = LogRequest {
            namespace: target.namespace.clone(),
            pod: target.name.clone(),
            pod_uid,
            options: LogOptions {
                container: Some(container),
                ..options
            },
        };
        self.options().node_tunnel.logs(node, request).await
    }
}

/// Upstream's `ValidatePodLogOptions`.
fn check_options(options: &LogOptions) -> Result<(), Status> {
    let mut errors = Vec::new();
    let mut at_least = |field: &str, value: Option<i64>, least: i64| {
        let detail = match least {
            0 => "must be greater than or equal to 0",
            _ => "must be greater than 0",
        };
        if let Some(value) = value.filter(|value| *value < least) {
            errors.push(FieldError::invalid(field, value, detail));
        }
    };
    at_least("tailLines", options.tail_lines, 0);
    at_least("limitBytes", options.limit_bytes, 1);
    at_least("sinceSeconds", options.since_seconds, 1);
    if options.since_seconds.is_some() && options.since_time.is_some() {
        let detail = "at most one of `sinceTime` or `sinceSeconds` may be specified";
        errors.push(FieldError::forbidden("", detail));
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(invalid_status("", "PodLogOptions", "", &errors))
    }
}

fn names<'a>(pod: &'a Value, list: &str) -> Vec<&'a str> {
    let containers = pod["spec"][list].as_array();
    containers
        .into_iter()
        .flatten()
        .filter_map(|container| container["name"].as_str())
        .collect()
}

/// The container that is meant; only a pod with one need not be told.
pub(super) fn container_of(pod: &Value, asked: Option<&str>, name: &str) -> Result<String, Status> {
    let main = names(pod, "containers");
    let (init, ephemeral) = (
        names(pod, "initContainers"),
        names(pod, "ephemeralContainers"),
    );
    if let Some(asked) = asked.filter(|asked| !asked.is_empty()) {
        if main
            .iter()
            .chain(&init)
            .chain(&ephemeral)
            .any(|known| *known == asked)
        {
            return Ok(asked.to_owned());
        }
        return Err(Status::bad_request(format!(
            "container {asked} is not valid for pod {name}"
        )));
    }
    let mut message = format!("a container name must be specified for pod {name}");
    match main.as_slice() {
        [only] if init.is_empty() && ephemeral.is_empty() => return Ok((*only).to_owned()),
        [only] => return Ok((*only).to_owned()),
        [] => {}
        many => {
            message.push_str(&format!(", choose one of: [{}]", many.join(" ")));
            if !init.is_empty() {
                message.push_str(&format!(
                    " or one of the init containers: [{}]",
                    init.join(" ")
                ));
            }
            if !ephemeral.is_empty() {
                let names = ephemeral.join(" ");
                message.push_str(&format!(" or one of the ephemeral containers: [{names}]"));
            }
        }
    }
    Err(Status::bad_request(message))
}

/// Upstream's kubelet refuses logs of a container that has none yet, and says what it waits for.
fn check_started(pod: &Value, container: &str, name: &str, previous: bool) -> Result<(), Status> {
    let lists = [
        "containerStatuses",
        "initContainerStatuses",
        "ephemeralContainerStatuses",
    ];
    let mut statuses = lists
        .iter()
        .filter_map(|list| pod["status"][*list].as_array())
        .flatten();
    let refuse = |why: String| Err(Status::bad_request(why));
    let Some(status) = statuses.find(|status| status["name"] == container) else {
        return refuse(format!(
            "container \"{container}\" in pod \"{name}\" is not available"
        ));
    };
    let has_ended = !status["lastState"]["terminated"].is_null();
    let state = &status["state"];
    if previous {
        if has_ended {
            return Ok(());
        }
        let why =
            format!("previous terminated container \"{container}\" in pod \"{name}\" not found");
        return refuse(why);
    }
    if !state["running"].is_null() || !state["terminated"].is_null() || has_ended {
        return Ok(());
    }
    let waits = format!("container \"{container}\" in pod \"{name}\" is waiting to start");
    match state["waiting"]["reason"].as_str() {
        Some("ErrImagePull") => refuse(format!("{waits}: image can't be pulled")),
        Some("ImagePullBackOff") => refuse(format!("{waits}: trying and failing to pull image")),
        Some(reason) => refuse(format!("{waits}: {reason}")),
        None => refuse(format!("{waits} - no logs yet")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_container_has_to_be_named_when_there_are_several() {
        let one = json!({"spec": {"containers": [{"name": "app"}]}});
        let two = json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]}});
        assert_eq!(container_of(&one, None, "x").unwrap(), "app");
        assert_eq!(container_of(&two, Some("i"), "x").unwrap(), "i");
        let cases = [
            (
                &two,
                None,
                "a container name must be specified for pod x, choose one of: [a b] or one of the init \
                          containers: [i]",
            ),
            (&one, Some("no"), "container no is not valid for pod x"),
        ];
        for (pod, asked, message) in cases {
            assert_eq!(container_of(pod, asked, "x").unwrap_err().message, message);
        }
    }

    #[test]
    fn a_waiting_container_has_no_log() {
        let pod = |state: Value| json!({"status": {"containerStatuses": [{"name": "a", "state": state}]}});
        let waiting = pod(json!({"waiting": {"reason": "ContainerCreating"}}));
        let status = check_started(&waiting, "a", "x", false).unwrap_err();
        assert_eq!(
            status.message,
            "container \"a\" in pod \"x\" is waiting to start: ContainerCreating"
        );
        let running = pod(json!({"running": {}}));
        assert!(check_started(&running, "a", "x", false).is_ok());
        let status = check_started(&running, "a", "x", true).unwrap_err();
        assert_eq!(
            status.message,
            "previous terminated container \"a\" in pod \"x\" not found"
        );
    }
}
