//! The container runtime seen from the agent: a trait, Docker Engine behind it, and a fake in memory for tests and
//! hollow nodes.
//!
//! Deliberately absent: pods. A runtime knows containers, images, labels; what they mean is the agent's.

pub mod docker;
pub mod fake;
pub mod images;
pub mod labels;
pub mod streams;
pub mod types;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

pub use streams::{AttachSpec, ExecSpec, Input, Output, Size, Streams};
pub use types::{
    Container, ContainerSpec, Event, EventKind, ExecResult, Image, Info, LogOptions, Mount,
    Namespace, Run, Stats, Summary,
};

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The engine did not answer: try again.
    #[error("container engine unreachable: {0}")]
    Unreachable(String),
    /// No such container or image.
    #[error("{0}")]
    NotFound(String),
    /// The name is taken, or the container is not in the state that the call needs.
    #[error("{0}")]
    Conflict(String),
    /// The engine understood and refused, or failed to carry it out.
    #[error("{0}")]
    Refused(String),
}

/// Short for this crate's results.
pub type Result<T> = std::result::Result<T, Error>;

/// A container engine. Every call is idempotent or says `Conflict`/`NotFound`, so that the caller may repeat it.
pub trait Runtime: Send + Sync + 'static {
    /// Version, cgroup driver, operating system.
    fn info(&self) -> BoxFuture<'_, Result<Info>>;
    /// Containers that carry all of `labels`, whatever their state.
    fn list(&self, labels: Vec<(&'static str, String)>) -> BoxFuture<'_, Result<Vec<Summary>>>;
    /// One container in full, by id or name.
    fn inspect<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Container>>;
    /// Creates a container and returns its id.
    fn create<'a>(&'a self, spec: &'a ContainerSpec) -> BoxFuture<'a, Result<String>>;
    /// Starts a created container; a running one stays as it is.
    fn start<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>>;
    /// Sends a signal; a container that ended is no error.
    fn kill<'a>(&'a self, id: &'a str, signal: &'a str) -> BoxFuture<'a, Result<()>>;
    /// Removes a container, killing it first when it runs; an absent one is no error.
    fn remove<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>>;
    /// Runs a command inside a running container and waits for its end.
    fn exec<'a>(&'a self, id: &'a str, argv: &'a [String]) -> BoxFuture<'a, Result<ExecResult>>;
    /// Prepares a command inside a running container and answers its id.
    fn exec_create<'a>(&'a self, id: &'a str, spec: &'a ExecSpec) -> BoxFuture<'a, Result<String>>;
    /// Starts a prepared command, with its streams.
    fn exec_start<'a>(&'a self, exec: &'a str, tty: bool) -> BoxFuture<'a, Result<Streams>>;
    /// Sets the size of a command's terminal.
    fn exec_resize<'a>(&'a self, exec: &'a str, size: Size) -> BoxFuture<'a, Result<()>>;
    /// The exit code of a command; none while it runs.
    fn exec_code<'a>(&'a self, exec: &'a str) -> BoxFuture<'a, Result<Option<i32>>>;
    /// Joins the streams of a running container's first process; what it wrote before is not told again.
    fn attach<'a>(&'a self, id: &'a str, spec: &'a AttachSpec) -> BoxFuture<'a, Result<Streams>>;
    /// Sets the size of a container's terminal.
    fn resize<'a>(&'a self, id: &'a str, size: Size) -> BoxFuture<'a, Result<()>>;
    /// What a running container uses.
    fn stats<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Stats>>;
    /// A container's output; complete lines are not guaranteed per chunk.
    fn logs<'a>(
        &'a self,
        id: &'a str,
        options: &'a LogOptions,
    ) -> BoxFuture<'a, Result<BoxStream<'static, Result<Bytes>>>>;
    /// Changes of containers that carry all of `labels`, until the engine goes away: then list again.
    fn events(
        &self,
        labels: Vec<(&'static str, String)>,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Event>>>;
    /// A local image; `None` when it is not here.
    fn image<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<Option<Image>>>;
    /// Fetches an image from its registry.
    fn pull<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<Image>>;
    /// Loads an image archive made by [`images`].
    fn load(&self, archive: Bytes) -> BoxFuture<'_, Result<()>>;
    /// Removes an image; one that is not there or that a container needs stays as it is.
    fn remove_image<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<()>>;
}
