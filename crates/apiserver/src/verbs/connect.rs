//! Connections with what runs on a node: exec, attach and port-forward.

use kontiki_base::status::Status;
use kontiki_state::Object;
use serde_json::Value;

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
        self.authorize_connection(context, target, verb)?;
        let is_exec = target.subresource == Some(kontiki_api::Subresource::Exec);
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
    ) -> Result<OnNode, Status> {
        self.authorize_connection(context, target, verb)?;
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
    fn authorize_connection(
        &self,
        context: &Context,
        target: &Target,
        verb: &str,
    ) -> Result<(), Status> {
        self.authorize(context, verb, target)?;
        if verb == "create" {
            return Ok(());
        }
        self.authorize(context, "create", target)
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
