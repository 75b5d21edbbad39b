//! The paths of subresources that connect: exec, attach, port-forward and the proxies. Upstream's documents list them by
//! method, with the options that their query takes.

use serde_json::{Map, Value, json};

use super::operations::{Operation, Parameter, parameter};
use super::paths::common;
use crate::kind::{Kind, Subresource};

const STREAMS: &[Parameter] = &[
    ("container", "string", "Container; the only one by default."),
    ("stderr", "boolean", "Whether standard error is sent."),
    ("stdin", "boolean", "Whether standard input is taken."),
    ("stdout", "boolean", "Whether standard output is sent."),
    ("tty", "boolean", "Whether a terminal is allocated."),
];
const COMMAND: Parameter = ("command", "string", "The command, a word each time.");
const PORTS: &[Parameter] = &[("ports", "integer", "Ports to forward, for WebSockets.")];
const PATH: &[Parameter] = &[("path", "string", "The part of the URL that is passed on.")];
const UPGRADABLE: &[&str] = &["get", "post"];
const ALL: &[&str] = &["delete", "get", "head", "options", "patch", "post", "put"];

/// Adds the paths of one subresource of `object`.
pub(super) fn add(
    kind: &Kind,
    object: &str,
    subresource: Subresource,
    paths: &mut Map<String, Value>,
) {
    let path = format!("{object}/{}", subresource.name());
    let exec = [&[COMMAND], STREAMS].concat();
    let (methods, takes, word) = match subresource {
        Subresource::Exec => (UPGRADABLE, exec.as_slice(), "Exec"),
        Subresource::Attach => (UPGRADABLE, STREAMS, "Attach"),
        Subresource::PortForward => (UPGRADABLE, PORTS, "Portforward"),
        _ => (ALL, PATH, "Proxy"),
    };
    paths.insert(
        path.clone(),
        item(kind, subresource, (methods, takes), word, false),
    );
    if subresource == Subresource::Proxy {
        let below = item(kind, subresource, (methods, takes), "ProxyWithPath", true);
        paths.insert(format!("{path}/{{path}}"), below);
    }
}

fn item(
    kind: &Kind,
    subresource: Subresource,
    (methods, takes): (&[&str], &[Parameter]),
    word: &str,
    with_path: bool,
) -> Value {
    let mut item = json!({"parameters": common(kind, true)});
    if with_path && let Some(parameters) = item["parameters"].as_array_mut() {
        let mut path = parameter("path", "string", "path to the resource");
        path["in"] = "path".into();
        path["required"] = true.into();
        parameters.push(path);
    }
    for method in methods {
        let operation = Operation::connect(kind, method, word, takes);
        item[*method] = operation.speaks(subresource).build();
    }
    item
}
