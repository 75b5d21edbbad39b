//! The rings of a gateway: one for each version of a kind that somebody watches, each filled by one feed of a replica.
//!
//! A feed that breaks off is begun again at its last revision, at the next replica if need be, and watchers see nothing of
//! it. When events were missed, or the kind is served no more, the ring ends and its watchers are told to list again (410).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use kontiki_api::Kind;
use kontiki_apiserver::feed::{Feed, Start};
use kontiki_apiserver::relay::Replicas;
use kontiki_base::backoff::Backoff;
use kontiki_base::limits::GATEWAY_RINGS;
use kontiki_base::metrics::METRICS;
use kontiki_base::random::SystemRandom;
use kontiki_base::status::{Reason, Status};
use kontiki_base::task::{TaskKind, spawn};
use kontiki_state::{History as _, Relay};
use tokio::sync::OnceCell;

/// Longest wait of a watch for its ring's first feed; without one, a replica serves the watch.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a ring is looked at for whether anybody watches it.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// A ring that nobody watched for so many looks is let go.
const UNWATCHED_LOOKS: u32 = 5;
/// Pauses between attempts to begin a feed again.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(2);

/// A kind: group, version, plural.
type Path = (String, String, String);

/// All rings.
pub struct Rings {
    replicas: Arc<dyn Replicas>,
    slots: Mutex<HashMap<Path, Arc<OnceCell<Arc<Ring>>>>>,
}

/// One of them, for as long as it is held.
pub struct Ring {
    /// Its events.
    pub relay: Relay,
    _counted: Counted,
}

/// Counts a ring while it lives.
struct Counted;

impl Counted {
    fn new() -> Self {
        METRICS.gateway_rings.inc();
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        METRICS.gateway_rings.sub(1);
    }
}

impl Rings {
    /// None yet.
    pub fn new(replicas: Arc<dyn Replicas>) -> Self {
        Self {
            replicas,
            slots: Mutex::default(),
        }
    }

    /// The ring of a kind, made if need be; none when there are too many, or no replica feeds it now.
    pub async fn of(self: &Arc<Self>, kind: &Kind) -> Option<Arc<Ring>> {
        let path = path(kind);
        let slot = {
            let mut slots = self.slots();
            if !slots.contains_key(&path) && slots.len() >= GATEWAY_RINGS {
                tracing::warn!(
                    "more than {GATEWAY_RINGS} kinds are watched: replicas serve the rest"
                );
                return None;
            }
            Arc::clone(slots.entry(path.clone()).or_default())
        };
        let begun = slot.get_or_try_init(|| self.begin(kind)).await;
        match begun {
            Ok(ring) => Some(Arc::clone(ring)),
            Err(status) => {
                tracing::debug!(%status, kind = kind.kind(), "a ring cannot begin");
                let mut slots = self.slots();
                if slots.get(&path).is_some_and(|it| !it.initialized()) {
                    slots.remove(&path);
                }
                None
            }
        }
    }

    async fn begin(self: &Arc<Self>, kind: &Kind) -> Result<Arc<Ring>, Status> {
        let beginning = self.replicas.feed(kind.clone(), Start::Oldest);
        let late = |_| Status::new(Reason::Timeout, "a feed did not begin in time");
        let feed = tokio::time::timeout(BEGIN_TIMEOUT, beginning)
            .await
            .map_err(late)??;
        let ring = Arc::new(Ring {
            relay: Relay::starting_at(feed.floor),
            _counted: Counted::new(),
        });
        let filling = Filling {
            rings: Arc::clone(self),
            kind: kind.clone(),
            ring: Arc::clone(&ring),
            n_unwatched: 0,
        };
        spawn(TaskKind::Housekeeping, filling.run(feed));
        Ok(ring)
    }

    fn slots(&self) -> std::sync::MutexGuard<'_, HashMap<Path, Arc<OnceCell<Arc<Ring>>>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn path(kind: &Kind) -> Path {
    let text = str::to_owned;
    (
        text(kind.group()),
        text(kind.version()),
        text(kind.plural()),
    )
}

/// A ring with the feed that fills it.
struct Filling {
    rings: Arc<Rings>,
    kind: Kind,
    ring: Arc<Ring>,
    n_unwatched: u32,
}

/// Why a feed was left.
enum Left {
    /// It broke off.
    Broken,
    /// Its ring is of no use any more.
    Over,
    /// Nobody watches.
    Unwatched,
}

impl Filling {
    async fn run(mut self, feed: Feed) {
        let mut next = Some(feed);
        let mut backoff = Backoff::new(FIRST_RETRY, LAST_RETRY);
        loop {
            let left = match next.take() {
                Some(feed) => self.fill(feed, &mut backoff).await,
                None => self.again(&mut next).await,
            };
            match left {
                Some(Left::Broken) => tokio::time::sleep(backoff.next_delay(&SystemRandom)).await,
                Some(Left::Over) => {
                    self.forget();
                    return self.ring.relay.end();
                }
                Some(Left::Unwatched) => return,
                None => {}
            }
        }
    }

    /// Takes in what a feed brings.
    async fn fill(&mut self, mut feed: Feed, backoff: &mut Backoff) -> Option<Left> {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                piece = feed.pieces.next() => match piece {
                    Some(Ok(piece)) => {
                        self.ring.relay.publish(piece.events, piece.revision);
                        backoff.reset();
                    }
                    Some(Err(status)) => return Some(left(&status)),
                    None => return Some(Left::Broken),
                },
                _ = looks.tick() => {
                    if self.is_unwatched() {
                        return Some(Left::Unwatched);
                    }
                }
            }
        }
    }

    /// Begins a feed where the last one ended.
    async fn again(&self, next: &mut Option<Feed>) -> Option<Left> {
        let start = Start::After(self.ring.relay.revision());
        match self.rings.replicas.feed(self.kind.clone(), start).await {
            Ok(feed) => {
                *next = Some(feed);
                None
            }
            Err(status) => Some(left(&status)),
        }
    }

    /// Whether the ring was let go: nobody but this task and the map has held it for some looks.
    fn is_unwatched(&mut self) -> bool {
        let mut slots = self.rings.slots();
        self.n_unwatched = match Arc::strong_count(&self.ring) {
            0..=2 => self.n_unwatched + 1,
            _ => 0,
        };
        let is_over = self.n_unwatched > UNWATCHED_LOOKS;
        if is_over {
            slots.remove(&path(&self.kind));
        }
        is_over
    }

    fn forget(&self) {
        self.rings.slots().remove(&path(&self.kind));
    }
}

fn left(status: &Status) -> Left {
    match status.reason {
        Reason::Expired | Reason::Gone | Reason::NotFound => Left::Over,
        _ => Left::Broken,
    }
}
