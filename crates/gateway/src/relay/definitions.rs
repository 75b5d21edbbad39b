//! The kinds that users define, as the replicas know them: followed, so that their watches find a ring too. A kind that is
//! not known here yet costs nothing but that: its requests go to a replica whole.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use futures::StreamExt as _;
use kontiki_api::Kinds;
use kontiki_api::custom::DEFINITIONS;
use kontiki_api::kinds::by_resource;
use kontiki_apiserver::feed::{Fed, Start};
use kontiki_apiserver::relay::Replicas;
use kontiki_base::backoff::Backoff;
use kontiki_base::random::SystemRandom;
use kontiki_base::status::Status;
use kontiki_base::task::{TaskKind, spawn};
use kontiki_state::{EventKind, Object};

/// Pauses between attempts to follow.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// What is known.
#[derive(Default)]
pub struct Definitions {
    kinds: RwLock<Kinds>,
    is_current: AtomicBool,
}

type Objects = BTreeMap<String, Arc<Object>>;

impl Definitions {
    /// Follows the replicas for as long as anybody holds it.
    pub fn follow(replicas: Arc<dyn Replicas>) -> Arc<Self> {
        let this = Arc::new(Self::default());
        spawn(TaskKind::Housekeeping, run(Arc::downgrade(&this), replicas));
        this
    }

    /// The kinds.
    pub fn kinds(&self) -> Kinds {
        let kinds = self.kinds.read().unwrap_or_else(PoisonError::into_inner);
        kinds.clone()
    }

    /// Whether a replica is followed now.
    pub fn is_current(&self) -> bool {
        self.is_current.load(Ordering::Relaxed)
    }

    fn take(&self, objects: &Objects) {
        let mut kinds = self.kinds.write().unwrap_or_else(PoisonError::into_inner);
        let known = kinds.with(objects.iter().map(|(name, object)| {
            let read = || Some(object.value());
            (name.as_str(), object.revision, read)
        }));
        *kinds = known;
        self.is_current.store(true, Ordering::Relaxed);
    }
}

async fn run(definitions: Weak<Definitions>, replicas: Arc<dyn Replicas>) {
    let mut backoff = Backoff::new(FIRST_RETRY, LAST_RETRY);
    while definitions.strong_count() > 0 {
        let outcome = follow(&definitions, &*replicas, &mut backoff).await;
        if let Some(this) = definitions.upgrade() {
            this.is_current.store(false, Ordering::Relaxed);
        }
        if let Err(status) = outcome {
            tracing::debug!(%status, "definitions are not followed");
        }
        tokio::time::sleep(backoff.next_delay(&SystemRandom)).await;
    }
}

/// Follows one replica until it ends.
async fn follow(
    definitions: &Weak<Definitions>,
    replicas: &dyn Replicas,
    backoff: &mut Backoff,
) -> Result<(), Status> {
    let missing = || Status::internal("a kind is missing");
    let kind = by_resource(DEFINITIONS).ok_or_else(missing)?;
    let mut pieces = replicas.feed(kind.clone(), Start::Present).await?.pieces;
    let mut objects = Objects::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        let is_whole = piece.revision > 0;
        apply(&mut objects, piece);
        if is_whole {
            let Some(this) = definitions.upgrade() else {
                return Ok(());
            };
            this.take(&objects);
            backoff.reset();
        }
    }
    Ok(())
}

fn apply(objects: &mut Objects, piece: Fed) {
    for object in piece.objects {
        objects.insert(object.key.name.to_string(), object);
    }
    for event in piece.events {
        let name = event.object.key.name.to_string();
        if event.kind == EventKind::Deleted {
            objects.remove(&name);
        } else {
            objects.insert(name, event.object);
        }
    }
}
