//! A runtime in memory: for unit tests of the agent and for hollow nodes.
//!
//! Containers "run" until they are killed, finish on their own after a scripted time, or a test ends them. Every
//! image is present unless a test names it absent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use kontiki_base::clock::SharedClock;
use kontiki_base::task::{TaskKind, spawn};
use parking_lot::Mutex;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_util::io::ReaderStream;

use crate::types::{
    Container, ContainerSpec, Event, EventKind, ExecResult, Image, Info, LogOptions, Run, Stats,
    Summary,
};
use crate::{AttachSpec, Error, ExecSpec, Output, Result, Runtime, Size, Streams, labels};

/// How long and with which exit code a container runs by itself.
pub type Script = fn(&ContainerSpec) -> Option<(Duration, i32)>;

/// Containers end by themselves when their command says `--once` (after 100 ms, with 0).
pub fn once_ends(spec: &ContainerSpec) -> Option<(Duration, i32)> {
    let once = spec.cmd.iter().flatten().any(|word| word == "--once");
    once.then_some((Duration::from_millis(100), 0))
}

/// Bytes between the input and the output of a process.
const ECHO_BYTES: usize = 1024;

/// A runtime in memory; clones share it.
#[derive(Clone)]
pub struct Fake(Arc<Inner>);

struct Inner {
    clock: SharedClock,
    script: Script,
    next_id: AtomicU64,
    state: Mutex<State>,
    events: broadcast::Sender<Event>,
}

#[derive(Default)]
struct State {
    containers: BTreeMap<String, Container>,
    specs: BTreeMap<String, ContainerSpec>,
    absent_images: BTreeSet<String>,
    ignores_sigterm: bool,
    unreachable: bool,
    exec_code: i32,
    calls: Vec<String>,
}

impl Fake {
    /// An engine without containers.
    pub fn new(clock: SharedClock, script: Script) -> Self {
        Self(Arc::new(Inner {
            clock,
            script,
            next_id: AtomicU64::new(1),
            state: Mutex::default(),
            events: broadcast::channel(256).0,
        }))
    }

    /// Ends the running container of a name prefix; false when there is none.
    pub fn finish(&self, name_prefix: &str, code: i32) -> bool {
        let id = self.running(name_prefix);
        id.is_some_and(|id| self.end(&id, code, false))
    }

    /// The id of the running container of a name prefix.
    pub fn running(&self, name_prefix: &str) -> Option<String> {
        let state = self.0.state.lock();
        let mut found = state.containers.values().filter(|container| {
            container.name.starts_with(name_prefix) && container.run.is_running()
        });
        found.next().map(|container| container.id.clone())
    }

    /// Names of all containers, running or not.
    pub fn names(&self) -> Vec<String> {
        self.0
            .state
            .lock()
            .containers
            .values()
            .map(|container| container.name.clone())
            .collect()
    }

    /// What a container was created from, by name prefix.
    pub fn spec(&self, name_prefix: &str) -> Option<ContainerSpec> {
        let state = self.0.state.lock();
        state
            .specs
            .values()
            .find(|spec| spec.name.starts_with(name_prefix))
            .cloned()
    }

    /// Changing calls so far, such as `start NAME`.
    pub fn calls(&self) -> Vec<String> {
        self.0.state.lock().calls.clone()
    }

    /// Makes an image absent (its pull fails) or present again.
    pub fn set_absent(&self, reference: &str, absent: bool) {
        let mut state = self.0.state.lock();
        if absent {
            state.absent_images.insert(reference.into());
        } else {
            state.absent_images.remove(reference);
        }
    }

    /// Whether containers go on after any signal but SIGKILL.
    pub fn set_ignores_sigterm(&self, ignores: bool) {
        self.0.state.lock().ignores_sigterm = ignores;
    }

    /// Whether all calls fail as if the engine were away.
    pub fn set_unreachable(&self, unreachable: bool) {
        self.0.state.lock().unreachable = unreachable;
    }

    /// The exit code of commands run inside containers.
    pub fn set_exec_code(&self, code: i32) {
        self.0.state.lock().exec_code = code;
    }

    fn end(&self, id: &str, code: i32, oom: bool) -> bool {
        let finished_ms = self.0.clock.unix_ms();
        let mut state = self.0.state.lock();
        let Some(container) = state.containers.get_mut(id) else {
            return false;
        };
        let Run::Running { started_ms } = container.run else {
            return false;
        };
        let error = String::new();
        container.run = Run::Exited {
            code,
            oom,
            started_ms,
            finished_ms,
            error,
        };
        container.pid = 0;
        self.announce(container, EventKind::Died);
        true
    }

    fn announce(&self, container: &Container, kind: EventKind) {
        let pod_uid = container
            .labels
            .get(labels::POD_UID)
            .cloned()
            .unwrap_or_default();
        // Nobody listening is fine.
        let _ = self.0.events.send(Event {
            id: container.id.clone(),
            pod_uid,
            kind,
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        let mut state = self.0.state.lock();
        if state.unreachable {
            return Err(Error::Unreachable("the fake engine is away".into()));
        }
        act(&mut state)
    }

    fn create_now(&self, spec: &ContainerSpec) -> Result<String> {
        let created_ms = self.0.clock.unix_ms();
        self.with(|state| {
            if state
                .containers
                .values()
                .any(|container| container.name == spec.name)
            {
                return Err(Error::Conflict(format!("the name {} is in use", spec.name)));
            }
            let id = format!("{:064x}", self.0.next_id.fetch_add(1, Ordering::Relaxed));
            let container = Container {
                id: id.clone(),
                name: spec.name.clone(),
                labels: spec.labels.clone(),
                run: Run::Created,
                pid: 0,
                image: spec.image.clone(),
                image_id: image_id(&spec.image),
                stop_signal: "SIGTERM".into(),
                created_ms,
            };
            state.calls.push(format!("create {}", spec.name));
            state.containers.insert(id.clone(), container);
            state.specs.insert(id.clone(), spec.clone());
            Ok(id)
        })
    }

    fn start_now(&self, id: &str) -> Result<()> {
        let started_ms = self.0.clock.unix_ms();
        let ends = self.with(|state| {
            let container = state.containers.get_mut(id).ok_or_else(|| absent(id))?;
            container.run = Run::Running { started_ms };
            container.pid = 1;
            state.calls.push(format!("start {}", container.name));
            self.announce(container, EventKind::Started);
            Ok(state.specs.get(id).and_then(self.0.script))
        })?;
        if let Some((after, code)) = ends {
            let (fake, id) = (self.clone(), id.to_owned());
            spawn(TaskKind::Command, async move {
                tokio::time::sleep(after).await;
                fake.end(&id, code, false);
            });
        }
        Ok(())
    }
}

/// Streams of a process that writes what it reads, and ends when its input does.
fn echo() -> Streams {
    let (ours, theirs) = tokio::io::duplex(ECHO_BYTES);
    let (read, keeps_open) = tokio::io::split(theirs);
    let output = ReaderStream::new(read).map(move |read| {
        let _keeps_open = &keeps_open;
        read.map(Output::Stdout)
            .map_err(|error| Error::Refused(error.to_string()))
    });
    Streams {
        input: Box::new(ours),
        output: output.boxed(),
    }
}

fn absent(id: &str) -> Error {
    Error::NotFound(format!("no such container: {id}"))
}

fn image_id(reference: &str) -> String {
    format!("sha256:{reference}")
}

fn image_of(reference: &str) -> Image {
    Image {
        id: image_id(reference),
        digests: Vec::new(),
        user: String::new(),
        size_bytes: 1,
    }
}

impl Runtime for Fake {
    fn info(&self) -> BoxFuture<'_, Result<Info>> {
        let info = Info {
            version: "fake://1".into(),
            ..Info::default()
        };
        std::future::ready(self.with(|_| Ok(info))).boxed()
    }

    fn list(&self, wanted: Vec<(&'static str, String)>) -> BoxFuture<'_, Result<Vec<Summary>>> {
        let matches = |container: &&Container| {
            wanted
                .iter()
                .all(|(name, value)| container.labels.get(*name) == Some(value))
        };
        let found = self.with(|state| {
            let found = state
                .containers
                .values()
                .filter(matches)
                .map(|container| Summary {
                    id: container.id.clone(),
                    labels: container.labels.clone(),
                    running: container.run.is_running(),
                });
            Ok(found.collect())
        });
        std::future::ready(found).boxed()
    }

    fn inspect<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Container>> {
        let found = self.with(|state| {
            let by_name = || {
                state
                    .containers
                    .values()
                    .find(|container| container.name == id)
            };
            state
                .containers
                .get(id)
                .or_else(by_name)
                .cloned()
                .ok_or_else(|| absent(id))
        });
        std::future::ready(found).boxed()
    }

    fn create<'a>(&'a self, spec: &'a ContainerSpec) -> BoxFuture<'a, Result<String>> {
        std::future::ready(self.create_now(spec)).boxed()
    }

    fn start<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        // The task that ends a scripted container needs the executor, hence not before the first poll.
        async move { self.start_now(id) }.boxed()
    }

    fn kill<'a>(&'a self, id: &'a str, signal: &'a str) -> BoxFuture<'a, Result<()>> {
        let ignored = self.with(|state| {
            let name = state
                .containers
                .get(id)
                .map_or("?", |container| container.name.as_str());
            state.calls.push(format!("{signal} {name}"));
            Ok(state.ignores_sigterm && signal != "SIGKILL")
        });
        let outcome = ignored.map(|ignored| {
            if !ignored {
                self.end(id, if signal == "SIGKILL" { 137 } else { 143 }, false);
            }
        });
        std::future::ready(outcome).boxed()
    }

    fn remove<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        let outcome = self.with(|state| {
            state.specs.remove(id);
            if let Some(container) = state.containers.remove(id) {
                state.calls.push(format!("remove {}", container.name));
                self.announce(&container, EventKind::Removed);
            }
            Ok(())
        });
        std::future::ready(outcome).boxed()
    }

    fn exec<'a>(&'a self, _id: &'a str, _argv: &'a [String]) -> BoxFuture<'a, Result<ExecResult>> {
        let code = self.with(|state| Ok(state.exec_code));
        let result = code.map(|code| ExecResult {
            code,
            output: String::new(),
        });
        std::future::ready(result).boxed()
    }

    fn exec_create<'a>(&'a self, id: &'a str, spec: &'a ExecSpec) -> BoxFuture<'a, Result<String>> {
        let created = self.with(|state| {
            let container = state.containers.get(id).ok_or_else(|| absent(id))?;
            if !container.run.is_running() {
                return Err(Error::Conflict(format!("container {id} is not running")));
            }
            state.calls.push(format!("exec {}", spec.argv.join(" ")));
            Ok(spec.argv.join(" "))
        });
        std::future::ready(created).boxed()
    }

    fn exec_start<'a>(&'a self, _exec: &'a str, _tty: bool) -> BoxFuture<'a, Result<Streams>> {
        std::future::ready(self.with(|_| Ok(echo()))).boxed()
    }

    fn exec_resize<'a>(&'a self, exec: &'a str, size: Size) -> BoxFuture<'a, Result<()>> {
        let resized = self.with(|state| {
            let Size { width, height } = size;
            state.calls.push(format!("resize {exec} {width}x{height}"));
            Ok(())
        });
        std::future::ready(resized).boxed()
    }

    fn exec_code<'a>(&'a self, _exec: &'a str) -> BoxFuture<'a, Result<Option<i32>>> {
        std::future::ready(self.with(|state| Ok(Some(state.exec_code)))).boxed()
    }

    fn attach<'a>(&'a self, id: &'a str, _spec: &'a AttachSpec) -> BoxFuture<'a, Result<Streams>> {
        let attached = self.with(|state| {
            state.containers.get(id).ok_or_else(|| absent(id))?;
            Ok(echo())
        });
        std::future::ready(attached).boxed()
    }

    fn resize<'a>(&'a self, id: &'a str, size: Size) -> BoxFuture<'a, Result<()>> {
        self.exec_resize(id, size)
    }

    fn stats<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Stats>> {
        let used = self.with(|state| {
            state.containers.get(id).ok_or_else(|| absent(id))?;
            Ok(Stats::default())
        });
        std::future::ready(used).boxed()
    }

    fn logs<'a>(
        &'a self,
        id: &'a str,
        _options: &'a LogOptions,
    ) -> BoxFuture<'a, Result<BoxStream<'static, Result<Bytes>>>> {
        let line = Bytes::from(format!("log of {id}\n"));
        std::future::ready(Ok(futures::stream::iter([Ok(line)]).boxed())).boxed()
    }

    fn events(
        &self,
        wanted: Vec<(&'static str, String)>,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Event>>> {
        drop(wanted); // A fake engine serves one node.
        let stream = BroadcastStream::new(self.0.events.subscribe());
        let stream = stream
            .take_while(|event| std::future::ready(event.is_ok()))
            .filter_map(|event| std::future::ready(event.ok()));
        std::future::ready(self.with(|_| Ok(stream.boxed()))).boxed()
    }

    fn image<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<Option<Image>>> {
        let found = self.with(|state| {
            let present = !state.absent_images.contains(reference);
            Ok(present.then(|| image_of(reference)))
        });
        std::future::ready(found).boxed()
    }

    fn pull<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<Image>> {
        let outcome = self.with(|state| {
            state.calls.push(format!("pull {reference}"));
            if state.absent_images.contains(reference) {
                return Err(Error::NotFound(format!(
                    "manifest for {reference} not found"
                )));
            }
            Ok(image_of(reference))
        });
        std::future::ready(outcome).boxed()
    }

    fn load(&self, _archive: Bytes) -> BoxFuture<'_, Result<()>> {
        std::future::ready(self.with(|_| Ok(()))).boxed()
    }

    fn remove_image<'a>(&'a self, _reference: &'a str) -> BoxFuture<'a, Result<()>> {
        std::future::ready(self.with(|_| Ok(()))).boxed()
    }
}
