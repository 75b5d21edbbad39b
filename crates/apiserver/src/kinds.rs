//! The kinds that this replica serves, as its store defines them: made anew at the first request after a change of a
//! definition. Writes are acknowledged after their wake-up: whoever was told of a definition finds its kind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kontiki_api::Kinds;
use kontiki_state::{Interest, Store, Subscription};
use parking_lot::RwLock;

use crate::server::ApiServer;

const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";

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

    fn current(&self) -> Kinds {
        if !self.is_stale.load(Ordering::Acquire) {
            return self.kinds.read().clone();
        }
        // Others wait here instead of answering by the old kinds.
        let kinds = self.kinds.write();
        self.is_stale.swap(false, Ordering::AcqRel);
        kinds.clone()
    }
}

impl ApiServer {
    /// The kinds that are served now.
    pub fn kinds(&self) -> Kinds {
        self.0.served.current()
    }
}
