//! Commands in containers, and the streams of what runs there already.
//!
//! ```text
//! server ─▶ 0 standard input ─▶ queue ─▶ process      process ─▶ 1 standard output, 2 standard error ─▶ server
//!           4 sizes ─▶ the last one ─▶ its terminal    its end ─▶ 3 a Status, then the tunnel's end
//! ```
//! A process that does not read its input fills the queue and with it the tunnel; its output goes on.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use kontiki_base::limits::TUNNEL_CHUNKS;
use kontiki_base::status::Reason;
use kontiki_proto::node::tunnel_response::Message;
use kontiki_proto::node::{AttachRequest, ChannelData, ExecRequest};
use kontiki_runtime::{AttachSpec, ExecSpec, Input, Output, Size};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{mpsc, watch};

use super::outbound::{Gone, Outbound};
use super::{Failure, Inbound, containers};
use crate::node::Node;

const STDIN: u32 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u32 = 4;
/// Waits between looks whether a process whose streams have ended has ended too: the first and the longest.
const FIRST_LOOK: Duration = Duration::from_millis(5);
const LONGEST_LOOK: Duration = Duration::from_secs(1);

/// Which terminal a size is for.
#[derive(Clone, Copy)]
enum Terminal<'a> {
    Exec(&'a str),
    Container(&'a str),
    None,
}

/// Runs a command.
pub(super) async fn exec(
    node: &Node,
    request: ExecRequest,
    inbound: &mut Inbound,
    outbound: &Outbound,
) -> Result<(), Failure> {
    let container = containers::running(node, &request.pod_uid, &request.container).await?;
    let spec = ExecSpec {
        argv: request.command,
        stdin: request.stdin,
        stdout: request.stdout,
        // A terminal has one output.
        stderr: request.stderr && !request.tty,
        tty: request.tty,
    };
    let exec = node.runtime.exec_create(&container.id, &spec).await?;
    let streams = node.runtime.exec_start(&exec, spec.tty).await?;
    if outbound.ready().await.is_err() {
        return Ok(());
    }
    let terminal = if spec.tty {
        Terminal::Exec(&exec)
    } else {
        Terminal::None
    };
    let input = spec.stdin.then_some(streams.input);
    let passed = pass(node, terminal, inbound, outbound, input, streams.output).await;
    let status = match passed {
        Ok(()) => match ended(node, &exec).await {
            Ok(0) => success(),
            Ok(code) => exited(&spec.argv, code),
            Err(error) => failed(&error.to_string()),
        },
        Err(Stop::Gone) => return Ok(()),
        Err(Stop::Engine(error)) => failed(&error.to_string()),
    };
    tell(outbound, &status).await;
    Ok(())
}

/// Joins the streams of a container.
pub(super) async fn attach(
    node: &Node,
    request: &AttachRequest,
    inbound: &mut Inbound,
    outbound: &Outbound,
) -> Result<(), Failure> {
    let container = containers::running(node, &request.pod_uid, &request.container).await?;
    // Whether it has a terminal was decided when it was made.
    let tty = node.has_tty(&request.pod_uid, &request.container);
    let spec = AttachSpec {
        stdin: request.stdin,
        stdout: request.stdout,
        stderr: request.stderr && !tty,
        tty,
    };
    let streams = node.runtime.attach(&container.id, &spec).await?;
    if outbound.ready().await.is_err() {
        return Ok(());
    }
    let terminal = if tty {
        Terminal::Container(&container.id)
    } else {
        Terminal::None
    };
    let input = spec.stdin.then_some(streams.input);
    let passed = pass(node, terminal, inbound, outbound, input, streams.output).await;
    let status = match passed {
        Ok(()) => success(),
        Err(Stop::Gone) => return Ok(()),
        Err(Stop::Engine(error)) => internal(&format!("error attaching to container: {error}")),
    };
    tell(outbound, &status).await;
    Ok(())
}

/// Why bytes are no longer passed on before the process ended.
enum Stop {
    /// The client went away.
    Gone,
    /// The engine's side failed.
    Engine(kontiki_runtime::Error),
}

impl From<Gone> for Stop {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

/// Passes bytes both ways until the output has ended.
async fn pass(
    node: &Node,
    terminal: Terminal<'_>,
    inbound: &mut Inbound,
    outbound: &Outbound,
    input: Option<Input>,
    mut output: BoxStream<'static, kontiki_runtime::Result<Output>>,
) -> Result<(), Stop> {
    let (stdin, queue) = mpsc::channel(TUNNEL_CHUNKS);
    let (size, sizes) = watch::channel(Size::default());
    let inwards = async {
        let reading = take(inbound, input.is_some().then_some(stdin), size);
        let writing = write(queue, input);
        tokio::pin!(reading, writing);
        // What was sent before the client went away is still written.
        tokio::select! {
            () = &mut reading => {}
            () = &mut writing => reading.await,
        }
    };
    let outwards = async {
        while let Some(chunk) = output.next().await {
            match chunk.map_err(Stop::Engine)? {
                Output::Stdout(bytes) => outbound.data(STDOUT, bytes).await?,
                Output::Stderr(bytes) => outbound.data(STDERR, bytes).await?,
            }
        }
        Ok(())
    };
    tokio::select! {
        passed = outwards => passed,
        () = inwards => Err(Stop::Gone),
        () = resize(node, terminal, sizes) => Err(Stop::Gone),
    }
}

/// Takes the server's messages until it closes its side, which means that the client went away.
async fn take(
    inbound: &mut Inbound,
    mut stdin: Option<mpsc::Sender<Bytes>>,
    size: watch::Sender<Size>,
) {
    while let Some(Ok(message)) = inbound.next().await {
        let (channel, data, is_end) = match message.message {
            Some(Message::Data(data)) => (STDIN, data, false),
            Some(Message::Channel(ChannelData { channel, data, end })) => (channel, data, end),
            Some(Message::End(_)) => (STDIN, Bytes::new(), true),
            None => continue,
        };
        if channel == RESIZE {
            if let Some(new) = read_size(&data) {
                size.send_replace(new);
            }
            continue;
        }
        if channel != STDIN {
            continue;
        }
        if let Some(sender) = &stdin
            && !data.is_empty()
            && sender.send(data).await.is_err()
        {
            // The process closed its input: what is still sent is nobody's.
            stdin = None;
        }
        if is_end {
            stdin = None;
        }
    }
}

/// Writes standard input until its sender is gone, then closes it.
async fn write(mut queue: mpsc::Receiver<Bytes>, input: Option<Input>) {
    let Some(mut input) = input else {
        return;
    };
    while let Some(bytes) = queue.recv().await {
        if input.write_all(&bytes).await.is_err() {
            return;
        }
    }
    let _ = input.shutdown().await;
}

/// Upstream's `TerminalSize`; zeros mean that the client does not know.
fn read_size(data: &[u8]) -> Option<Size> {
    #[derive(Deserialize)]
    struct Sent {
        #[serde(rename = "Width", alias = "width", default)]
        width: u16,
        #[serde(rename = "Height", alias = "height", default)]
        height: u16,
    }
    let Sent { width, height } = serde_json::from_slice(data).ok()?;
    (width > 0 && height > 0).then_some(Size { width, height })
}

/// Sets the terminal's size whenever it changes, for ever.
async fn resize(node: &Node, terminal: Terminal<'_>, mut sizes: watch::Receiver<Size>) {
    while sizes.changed().await.is_ok() {
        let size = *sizes.borrow_and_update();
        let resized = match terminal {
            Terminal::Exec(exec) => node.runtime.exec_resize(exec, size).await,
            Terminal::Container(id) => node.runtime.resize(id, size).await,
            Terminal::None => Ok(()),
        };
        if let Err(error) = resized {
            tracing::debug!(%error, "a terminal keeps its size");
        }
    }
    std::future::pending().await
}

/// The exit code of a command whose streams have ended.
async fn ended(node: &Node, exec: &str) -> kontiki_runtime::Result<i32> {
    let mut wait = FIRST_LOOK;
    loop {
        if let Some(code) = node.runtime.exec_code(exec).await? {
            return Ok(code);
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_LOOK);
    }
}

async fn tell(outbound: &Outbound, status: &Value) {
    // A client that went away needs no status.
    let _ = outbound.data(ERROR, Bytes::from(status.to_string())).await;
}

fn success() -> Value {
    json!({"metadata": {}, "status": "Success"})
}

fn exited(argv: &[String], code: i32) -> Value {
    let argv = argv.join(" ");
    json!({
        "metadata": {},
        "status": "Failure",
        "message": format!(
            "command terminated with non-zero exit code: error executing command [{argv}], exit code {code}"
        ),
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
    })
}

fn failed(why: &str) -> Value {
    internal(&format!("error executing command in container: {why}"))
}

/// Upstream's `NewInternalError`.
fn internal(why: &str) -> Value {
    json!({
        "metadata": {},
        "status": "Failure",
        "message": format!("Internal error occurred: {why}"),
        "reason": Reason::InternalError.as_str(),
        "details": {"causes": [{"message": why}]},
        "code": Reason::InternalError.http_code(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_clients_write_them_and_nonsense_changes_nothing() {
        let size = |text: &str| read_size(text.as_bytes()).map(|it| (it.width, it.height));
        assert_eq!(size("{\"Width\":80,\"Height\":24}\n"), Some((80, 24)));
        assert_eq!(size("{\"width\":80,\"height\":24}"), Some((80, 24)));
        for nonsense in [
            "",
            "{}",
            "{\"Width\":0,\"Height\":0}",
            "{\"Width\":70000,\"Height\":1}",
            "[]",
        ] {
            assert_eq!(size(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn an_exit_code_is_told_as_clients_look_for_it() {
        let status = exited(&["sh".into(), "-c".into(), "exit 3".into()], 3);
        assert_eq!(status["reason"], "NonZeroExitCode");
        assert_eq!(
            status["details"]["causes"][0],
            json!({"reason": "ExitCode", "message": "3"})
        );
    }
}
