//! The kinds that this replica serves, as its store defines them: made anew at the first request after a change of a
//! definition. Writes are acknowledged after their wake-up: whoever was told of a definition finds its kind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kontiki_api::custom::DEFINITIONS;
use kontiki_api::{Kind, Kinds};
use kontiki_base::status::{Reason, Status};
use kontiki_state::{Interest, Object, Snapshot, Store, Subscription};
use parking_lot::RwLock;

use crate::options::Context;
use crate::server::ApiServer;

/// The kinds and what tells that they are out of date.
pub(crate) struct Served {
    is_stale: Arc<AtomicBool>,
    kinds: RwLock<Kinds>,
    _subscription: Subscription,
}

impl Served {
    /// Follows a store.
    pub(crate) fn new(store: &Store) -> Self {
        let is_stale = Arc::new(AtomicBool::new(true));
        let flag = Arc::clone(&is_stale);
        let waker = Arc::new(move || flag.store(true, Ordering::Release));
        Self {
            is_stale,
            kinds: RwLock::default(),
            _subscription: store.subscribe(&Interest::resource(DEFINITIONS), waker),
        }
    }

    fn current(&self, store: &Store) -> Kinds {
        if !self.is_stale.load(Ordering::Acquire) {
            return self.kinds.read().clone();
        }
        // Others wait here instead of answering by the old kinds.
        let mut kinds = self.kinds.write();
        if self.is_stale.swap(false, Ordering::AcqRel) {
            *kinds = defined(&kinds, &store.snapshot());
        }
        kinds.clone()
    }
}

/// The kinds that a snapshot defines; `before` knows most of them.
fn defined(before: &Kinds, snapshot: &Snapshot) -> Kinds {
    let objects: Vec<Arc<Object>> = snapshot.list(DEFINITIONS, None, None).collect();
    before.with(objects.iter().map(|object| {
        let read = || Some(object.value());
        (&*object.key.name, object.revision, read)
    }))
}

impl ApiServer {
    /// The kind by its present definition: a watch outlives many. 410 when it is served no more, or is another one.
    pub(crate) fn current_kind(&self, kind: &Kind) -> Result<Kind, Status> {
        let Some(definition) = kind.definition() else {
            return Ok(kind.clone());
        };
        let kinds = self.kinds();
        let now = kinds.by_path(kind.group(), kind.version(), kind.plural());
        let same = now.filter(|now| now.definition().is_some_and(|it| it.uid == definition.uid));
        let gone = || Status::new(Reason::Expired, "the kind is served no more");
        same.cloned().ok_or_else(gone)
    }

    /// The kinds that are served everywhere now: for a request whose kind is not known here. This replica may lag behind
    /// the one that took the definition.
    pub async fn kinds_of_leader(&self, context: &Context) -> Result<Kinds, Status> {
        self.read_barrier(context).await?;
        Ok(self.kinds())
    }

    /// The kinds that are served now.
    pub fn kinds(&self) -> Kinds {
        self.0.served.current(self.store())
    }
}
