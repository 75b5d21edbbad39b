//! Docker Engine through bollard.
//!
//! The connection is made when first needed and the API version negotiated then (bollard would pin its own). Calls
//! that create and look have a short timeout, pulls a long one, streams none: three clients, so that a slow
//! stream never starves a kill. Events are not resumed: a stream that ends means "list again".

mod create;
mod hijack;
mod processes;
mod view;

use std::collections::HashMap;
use std::time::Duration;

use bollard::API_DEFAULT_VERSION;
use bollard::exec::StartExecResults;
use bollard::models::{ContainerSummaryStateEnum, ExecConfig};
use bollard::query_parameters::{
    CreateContainerOptions, CreateImageOptions, EventsOptions, ImportImageOptions,
    KillContainerOptions, ListContainersOptions, LogsOptions, RemoveContainerOptions, StatsOptions,
};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use parking_lot::Mutex;

use crate::types::{
    Container, ContainerSpec, Event, ExecResult, Image, Info, LogOptions, Stats, Summary,
};
use crate::{AttachSpec, Error, ExecSpec, Result, Runtime, Size, Streams};

/// Longest wait for calls that create, start, look.
const CONTROL: Duration = Duration::from_secs(60);
/// Longest wait for the first byte of a pull.
const PULL: Duration = Duration::from_secs(1800);
/// Streams live as long as their container.
const STREAM: Duration = Duration::from_secs(30 * 24 * 3600);
/// Bytes of a command's output that are kept (probe messages and hooks need no more).
const EXEC_OUTPUT_BYTES: usize = 10 * 1024;
/// The socket that Docker listens on by default.
pub const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// Docker Engine behind a Unix socket.
pub struct Docker {
    socket: String,
    client: Mutex<Option<bollard::Docker>>,
}

impl Docker {
    /// An engine behind `socket`; not contacted before the first call.
    pub fn new(socket: impl Into<String>) -> Self {
        Self {
            socket: socket.into(),
            client: Mutex::new(None),
        }
    }

    async fn client(&self, timeout: Duration) -> Result<bollard::Docker> {
        let known = self.client.lock().clone();
        let client = match known {
            Some(client) => client,
            None => {
                let away = |error: bollard::errors::Error| Error::Unreachable(error.to_string());
                let seconds = CONTROL.as_secs();
                bollard::Docker::connect_with_unix(&self.socket, seconds, API_DEFAULT_VERSION)
                    .map_err(away)?
                    .negotiate_version()
                    .await
                    .map_err(away)?
            }
        };
        *self.client.lock() = Some(client.clone());
        Ok(client.with_timeout(timeout))
    }

    async fn list_inner(&self, labels: Vec<(&'static str, String)>) -> Result<Vec<Summary>> {
        let options = ListContainersOptions {
            all: true,
            filters: Some(label_filters(labels)),
            ..ListContainersOptions::default()
        };
        let client = self.client(CONTROL).await?;
        let found = client
            .list_containers(Some(options))
            .await
            .map_err(explain)?;
        Ok(found
            .into_iter()
            .map(|line| Summary {
                id: line.id.unwrap_or_default(),
                labels: line.labels.unwrap_or_default().into_iter().collect(),
                running: line.state == Some(ContainerSummaryStateEnum::RUNNING),
            })
            .collect())
    }

    async fn exec_inner(&self, id: &str, argv: &[String]) -> Result<ExecResult> {
        let client = self.client(STREAM).await?;
        let config = ExecConfig {
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(argv.to_vec()),
            ..ExecConfig::default()
        };
        let exec = client.create_exec(id, config).await.map_err(explain)?.id;
        let mut kept = Vec::new();
        if let StartExecResults::Attached { mut output, .. } =
            client.start_exec(&exec, None).await.map_err(explain)?
        {
            while let Some(chunk) = output.try_next().await.map_err(explain)? {
                let room = EXEC_OUTPUT_BYTES - kept.len();
                let bytes = chunk.into_bytes();
                kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
        }
        let ended = client.inspect_exec(&exec).await.map_err(explain)?;
        Ok(ExecResult {
            code: ended.exit_code.unwrap_or(-1) as i32,
            output: String::from_utf8_lossy(&kept).into_owned(),
        })
    }

    async fn image_inner(&self, reference: &str) -> Result<Option<Image>> {
        match self
            .client(CONTROL)
            .await?
            .inspect_image(reference)
            .await
            .map_err(explain)
        {
            Ok(found) => Ok(Some(view::image(found))),
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn pull_inner(&self, reference: &str) -> Result<Image> {
        let client = self.client(PULL).await?;
        let options = CreateImageOptions {
            from_image: Some(with_tag(reference)),
            ..CreateImageOptions::default()
        };
        // Errors of a pull arrive within the stream, which is to be read to its end.
        let mut progress = std::pin::pin!(client.create_image(Some(options), None, None));
        while progress.try_next().await.map_err(explain)?.is_some() {}
        let pulled = self.image_inner(reference).await?;
        pulled.ok_or_else(|| Error::NotFound(format!("{reference} is absent after its pull")))
    }
}

impl Runtime for Docker {
    fn info(&self) -> BoxFuture<'_, Result<Info>> {
        async move {
            let info = self.client(CONTROL).await?.info().await.map_err(explain)?;
            Ok(view::info(info))
        }
        .boxed()
    }

    fn list(&self, labels: Vec<(&'static str, String)>) -> BoxFuture<'_, Result<Vec<Summary>>> {
        self.list_inner(labels).boxed()
    }

    fn inspect<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Container>> {
        async move {
            let client = self.client(CONTROL).await?;
            Ok(view::container(
                client.inspect_container(id, None).await.map_err(explain)?,
            ))
        }
        .boxed()
    }

    fn create<'a>(&'a self, spec: &'a ContainerSpec) -> BoxFuture<'a, Result<String>> {
        async move {
            let options = CreateContainerOptions {
                name: Some(spec.name.clone()),
                ..CreateContainerOptions::default()
            };
            let client = self.client(CONTROL).await?;
            let body = create::body(spec);
            Ok(client
                .create_container(Some(options), body)
                .await
                .map_err(explain)?
                .id)
        }
        .boxed()
    }

    fn start<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        async move {
            self.client(CONTROL)
                .await?
                .start_container(id, None)
                .await
                .map_err(explain)
        }
        .boxed()
    }

    fn kill<'a>(&'a self, id: &'a str, signal: &'a str) -> BoxFuture<'a, Result<()>> {
        async move {
            let options = KillContainerOptions {
                signal: signal.to_owned(),
            };
            let client = self.client(CONTROL).await?;
            forgive(
                client
                    .kill_container(id, Some(options))
                    .await
                    .map_err(explain),
            )
        }
        .boxed()
    }

    fn remove<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        async move {
            let options = RemoveContainerOptions {
                force: true,
                v: true,
                link: false,
            };
            let client = self.client(CONTROL).await?;
            forgive(
                client
                    .remove_container(id, Some(options))
                    .await
                    .map_err(explain),
            )
        }
        .boxed()
    }

    fn exec<'a>(&'a self, id: &'a str, argv: &'a [String]) -> BoxFuture<'a, Result<ExecResult>> {
        self.exec_inner(id, argv).boxed()
    }

    fn exec_create<'a>(&'a self, id: &'a str, spec: &'a ExecSpec) -> BoxFuture<'a, Result<String>> {
        self.exec_create_inner(id, spec).boxed()
    }

    fn exec_start<'a>(&'a self, exec: &'a str, tty: bool) -> BoxFuture<'a, Result<Streams>> {
        self.exec_start_inner(exec, tty).boxed()
    }

    fn exec_resize<'a>(&'a self, exec: &'a str, size: Size) -> BoxFuture<'a, Result<()>> {
        self.exec_resize_inner(exec, size).boxed()
    }

    fn exec_code<'a>(&'a self, exec: &'a str) -> BoxFuture<'a, Result<Option<i32>>> {
        self.exec_code_inner(exec).boxed()
    }

    fn attach<'a>(&'a self, id: &'a str, spec: &'a AttachSpec) -> BoxFuture<'a, Result<Streams>> {
        self.attach_inner(id, *spec).boxed()
    }

    fn resize<'a>(&'a self, id: &'a str, size: Size) -> BoxFuture<'a, Result<()>> {
        self.resize_inner(id, size).boxed()
    }

    fn stats<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Stats>> {
        async move {
            let options = StatsOptions {
                stream: false,
                one_shot: true,
            };
            let client = self.client(CONTROL).await?;
            let mut answers = std::pin::pin!(client.stats(id, Some(options)));
            let answer = answers.try_next().await.map_err(explain)?;
            Ok(view::stats(&answer.unwrap_or_default()))
        }
        .boxed()
    }

    fn logs<'a>(
        &'a self,
        id: &'a str,
        options: &'a LogOptions,
    ) -> BoxFuture<'a, Result<BoxStream<'static, Result<Bytes>>>> {
        async move {
            let options = LogsOptions {
                follow: options.follow,
                stdout: true,
                stderr: true,
                since: options.since_unix_s.unwrap_or(0) as i32,
                until: 0,
                timestamps: options.timestamps,
                tail: options
                    .tail_lines
                    .map_or("all".into(), |lines| lines.to_string()),
            };
            let client = self.client(STREAM).await?;
            let lines = client.logs(id, Some(options));
            Ok(lines
                .map_ok(|chunk| chunk.into_bytes())
                .map_err(explain)
                .boxed())
        }
        .boxed()
    }

    fn events(
        &self,
        labels: Vec<(&'static str, String)>,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Event>>> {
        async move {
            let mut filters = label_filters(labels);
            filters.insert("type".into(), vec!["container".into()]);
            let kinds = ["start", "die", "destroy"];
            filters.insert("event".into(), kinds.map(String::from).to_vec());
            let options = EventsOptions {
                filters: Some(filters),
                ..EventsOptions::default()
            };
            let stream = self.client(STREAM).await?.events(Some(options));
            // An error ends the stream as its end does: the reader lists and subscribes again.
            Ok(stream
                .take_while(|event| std::future::ready(event.is_ok()))
                .filter_map(|event| std::future::ready(event.ok().and_then(view::event)))
                .boxed())
        }
        .boxed()
    }

    fn image<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<Option<Image>>> {
        self.image_inner(reference).boxed()
    }

    fn pull<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<Image>> {
        self.pull_inner(reference).boxed()
    }

    fn load(&self, archive: Bytes) -> BoxFuture<'_, Result<()>> {
        async move {
            let client = self.client(PULL).await?;
            let options = ImportImageOptions {
                quiet: true,
                platform: None,
            };
            let body = bollard::body_full(archive);
            let mut progress = std::pin::pin!(client.import_image(options, body, None));
            while progress.try_next().await.map_err(explain)?.is_some() {}
            Ok(())
        }
        .boxed()
    }

    fn remove_image<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<()>> {
        async move {
            let client = self.client(CONTROL).await?;
            let options = None::<bollard::query_parameters::RemoveImageOptions>;
            match client
                .remove_image(reference, options, None)
                .await
                .map_err(explain)
            {
                Ok(_) | Err(Error::NotFound(_) | Error::Conflict(_)) => Ok(()),
                Err(error) => Err(error),
            }
        }
        .boxed()
    }
}

fn label_filters(labels: Vec<(&'static str, String)>) -> HashMap<String, Vec<String>> {
    let wanted = labels
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    HashMap::from([("label".to_owned(), wanted)])
}

/// Docker pulls every tag of a repository when none is named.
fn with_tag(reference: &str) -> String {
    let last = reference.rsplit('/').next().unwrap_or(reference);
    if last.contains(':') || last.contains('@') {
        reference.to_owned()
    } else {
        format!("{reference}:latest")
    }
}

/// A container that is gone or does not run needs no killing.
fn forgive(result: Result<()>) -> Result<()> {
    match result {
        Err(Error::NotFound(_) | Error::Conflict(_)) => Ok(()),
        other => other,
    }
}

fn explain(error: bollard::errors::Error) -> Error {
    use bollard::errors::Error as Bollard;
    match error {
        Bollard::DockerResponseServerError {
            status_code: 304, ..
        } => Error::Conflict("already so".into()),
        Bollard::DockerResponseServerError {
            status_code: 404,
            message,
        } => Error::NotFound(message),
        Bollard::DockerResponseServerError {
            status_code: 409,
            message,
        } => Error::Conflict(message),
        Bollard::DockerResponseServerError { message, .. } => Error::Refused(message),
        Bollard::DockerStreamError { error } => Error::Refused(error),
        other => Error::Unreachable(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_without_tag_means_latest() {
        assert_eq!(with_tag("nginx"), "nginx:latest");
        assert_eq!(with_tag("host:5000/nginx"), "host:5000/nginx:latest");
        assert_eq!(with_tag("host:5000/nginx:1"), "host:5000/nginx:1");
        assert_eq!(with_tag("nginx@sha256:ab"), "nginx@sha256:ab");
    }
}
