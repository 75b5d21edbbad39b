//! Connections with what runs on a node: exec, attach and port-forward.

use kontiki_base::status::Status;
use kontiki_state::Object;
use serde_json::{Value, json};

use super::logs::container_of;
use crate::options::{Context, Target};
use crate::server::ApiServer;
use crate::tunnel::{NodeRequest, PodPort, RemoteCommand, Tunnel};

/// Options of exec and attach.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RemoteOptions {
    /// Container; none when the pod has one.
    pub container: Option<String>,
    /// What to run; attach has none.
    pub command: Vec<String>,
    /// Whether standard input is sent.
    pub stdin: bool,
    /// Whether standard output is wanted.
    pub stdout: bool,
    /// Whether standard error is wanted.
    pub stderr: bool,
    /// Whether it is a terminal.
    pub tty: bool,
}

impl RemoteOptions {
    /// As admission sees them.
    fn to_object(&self, is_exec: bool) -> Value {
        let kind = if is_exec {
            "PodExecOptions"
        } else {
            "PodAttachOptions"
        };
        let mut object = json!({
            "apiVersion": "v1",
            "kind": kind,
            "stdin": self.stdin,
            "stdout": self.stdout,
            "stderr": self.stderr,
            "tty": self.tty,
        });
        if let Some(container) = &self.container {
            object["container"] = container.as_str().into();
        }
        if is_exec {
            object["command"] = json!(self.command);
        }
        object
    }

    /// As admission left them.
    fn of_object(object: &Value) -> Self {
        let flag = |name: &str| object[name] == true;
        let command = object["command"].as_array().into_iter().flatten();
        Self {
            container: object["container"].as_str().map(str::to_owned),
            command: command
                .filter_map(|word| word.as_str().map(str::to_owned))
                .collect(),
            stdin: flag("stdin"),
            stdout: flag("stdout"),
            stderr: flag("stderr"),
            tty: flag("tty"),
        }
    }
}

/// Something to connect with, and the node that it is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnNode {
    /// The node.
    pub node: String,
    /// What is asked of its agent.
    pub request: NodeRequest,
}

impl ApiServer {
    /// Whom an exec or attach is about; `verb` is that of the request's method.
    pub async fn remote_command(
        &self,
        context: &Context,
        target: &Target,
        verb: &str,
        options: RemoteOptions,
    ) -> Result<OnNode, Status> {
        self.authorize_connection(context, target, verb).await?;
        let is_exec = target.subresource == Some(kontiki_api::Subresource::Exec);
        let mut admitted = options.to_object(is_exec);
        self.admit_connect(context, target, &mut admitted).await?;
        let options = RemoteOptions::of_object(&admitted);
        let pod = self.current(context, target).await?;
        let container = container_of(&pod.value(), options.container.as_deref(), &target.name)?;
        let node = node_of(&pod)?;
        let command = RemoteCommand {
            pod_uid: pod.header.uid.to_string(),
            container,
            command: is_exec.then_some(options.command),
            stdin: options.stdin,
            stdout: options.stdout,
            stderr: options.stderr,
            tty: options.tty,
        };
        Ok(OnNode {
            node,
            request: NodeRequest::RemoteCommand(command),
        })
    }

    /// Whom a port-forward is about: the pod at port 0, to be asked for once a connection names its port.
    pub async fn port_forward(
        &self,
        context: &Context,
        target: &Target,
        verb: &str,
        ports: &[u16],
    ) -> Result<OnNode, Status> {
        self.authorize_connection(context, target, verb).await?;
        let mut options =
            json!({"apiVersion": "v1", "kind": "PodPortForwardOptions", "ports": ports});
        self.admit_connect(context, target, &mut options).await?;
        let pod = self.current(context, target).await?;
        let node = node_of(&pod)?;
        let request = NodeRequest::PortForward(PodPort {
            pod_uid: pod.header.uid.to_string(),
            port: 0,
        });
        Ok(OnNode { node, request })
    }

    /// Connects with what was found; the user has been authorized for it.
    pub async fn connect_node(&self, on_node: OnNode) -> Result<Tunnel, Status> {
        let OnNode { node, request } = on_node;
        self.options().node_tunnel.open(&node, request).await
    }

    /// A command is run, whatever the method: a GET, as WebSockets begin with, takes the right to create besides
    /// (upstream's `AuthorizePodWebsocketUpgradeCreatePermission`).
    async fn authorize_connection(
        &self,
        context: &Context,
        target: &Target,
        verb: &str,
    ) -> Result<(), Status> {
        self.authorize(context, verb, target).await?;
        if verb == "create" {
            return Ok(());
        }
        self.authorize(context, "create", target).await
    }
}

/// Where a pod runs.
pub(super) fn node_of(pod: &Object) -> Result<String, Status> {
    let value = pod.value();
    let node = value.pointer("/spec/nodeName").and_then(Value::as_str);
    match node.filter(|node| !node.is_empty()) {
        Some(node) => Ok(node.to_owned()),
        None => {
            let name = &pod.key.name;
            let message = format!("pod {name} does not have a host assigned");
            Err(Status::bad_request(message))
        }
    }
}
