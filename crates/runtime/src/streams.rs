//! Streams of processes in containers: what is asked for, and what comes.

use std::fmt;

use bytes::Bytes;
use futures::stream::BoxStream;
use tokio::io::AsyncWrite;

use crate::Result;

/// A command to run inside a container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExecSpec {
    /// The command.
    pub argv: Vec<String>,
    /// Whether standard input is sent.
    pub stdin: bool,
    /// Whether standard output is wanted.
    pub stdout: bool,
    /// Whether standard error is wanted; with a terminal it comes as standard output.
    pub stderr: bool,
    /// Whether it gets a terminal.
    pub tty: bool,
}

/// Which streams of a container to join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AttachSpec {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// Whether the container has a terminal: its output is then one stream.
    pub tty: bool,
}

/// Of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Size {
    /// Columns.
    pub width: u16,
    /// Lines.
    pub height: u16,
}

/// Some output of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Of standard output, or of the terminal.
    Stdout(Bytes),
    /// Of standard error.
    Stderr(Bytes),
}

/// The standard input of a process: shutting it down closes it.
pub type Input = Box<dyn AsyncWrite + Send + Unpin>;

/// The streams of a process.
pub struct Streams {
    /// Its standard input.
    pub input: Input,
    /// Its output, up to its end.
    pub output: BoxStream<'static, Result<Output>>,
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Streams")
    }
}
