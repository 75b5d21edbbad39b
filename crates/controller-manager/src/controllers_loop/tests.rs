//! The controllers' loop over a bare store that applies in a term of its own.

use std::sync::atomic::{AtomicU64, Ordering};

use kontiki_base::clock::SystemClock;
use kontiki_base::random::SeededRandom;
use kontiki_controllers::Settings;
use kontiki_state::{Command, Store};

use super::*;

const TERM: u64 = 3;

#[derive(Clone, Default)]
struct Bare {
    store: Store,
    index: Arc<AtomicU64>,
}

impl Backend for Bare {
    fn store(&self) -> &Store {
        &self.store
    }

    fn propose(
        &self,
        proposal: Proposal,
        _: Lane,
    ) -> BoxFuture<'static, Result<Vec<OpResult>, ProposeError>> {
        let this = self.clone();
        Box::pin(async move {
            tokio::task::yield_now().await;
            let index = this.index.fetch_add(1, Ordering::SeqCst) + 1;
            let command = Command::Batch {
                proposals: vec![proposal],
            };
            Ok(this.store.apply(index, TERM, &command).results.remove(0))
        })
    }
}

fn options() -> Options {
    Options {
        clock: SystemClock::shared(),
        random: Arc::new(SeededRandom::new(5)),
        settings: Arc::new(Settings::default),
        heartbeats: Arc::new(|_| None),
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_deposed_leader_stops_at_the_fence() {
    let bare = Bare::default();
    let reign = Reign {
        term: TERM - 1,
        since_ms: 0,
    };
    assert_eq!(run(bare.clone(), options(), reign).await, Ended::Fenced);
    assert!(
        bare.store.snapshot().is_empty(),
        "nothing of the old term is written"
    );
}
