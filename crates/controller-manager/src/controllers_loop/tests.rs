//! Both loops over a bare store: from a Deployment to bound pods, and silence afterwards.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use kontiki_base::clock::SystemClock;
use kontiki_base::random::SeededRandom;
use kontiki_controllers::commit::{Stamp, commit};
use kontiki_controllers::{Settings, Write};
use kontiki_state::{Command, Store};
use serde_json::{Value, json};

use super::*;

const TERM: u64 = 3;

#[derive(Clone, Default)]
struct Bare {
    store: Store,
    index: Arc<AtomicU64>,
    n_proposals: Arc<AtomicUsize>,
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
            this.n_proposals.fetch_add(1, Ordering::SeqCst);
            let command = Command::Batch {
                proposals: vec![proposal],
            };
            Ok(this.store.apply(index, TERM, &command).results.remove(0))
        })
    }
}

impl Bare {
    async fn create(&self, resource: &str, object: Value) {
        let write = Write::Create {
            resource: resource.into(),
            object,
            announce: None,
        };
        let mut bits = self.index.load(Ordering::SeqCst);
        let mut draw = || {
            bits = bits.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            bits
        };
        let mut stamp = Stamp {
            now_ms: 0,
            bits: &mut draw,
        };
        let ops = commit(
            &Kinds::built_in(),
            &self.store.snapshot(),
            vec![write],
            "kubectl",
            &mut stamp,
        )
        .ops;
        assert!(!ops.is_empty(), "{resource}");
        let results = self.propose(Proposal::batch(ops), Lane::User).await;
        assert!(results.unwrap().iter().all(OpResult::is_done), "{resource}");
    }

    /// Reports a node's status as an agent does: again if the node's controller wrote in between.
    async fn make_ready(&self, name: &str) {
        loop {
            let snapshot = self.store.snapshot();
            let node = snapshot.find("nodes", "", name).unwrap();
            let mut value = node.value();
            value["status"] = json!({
                "allocatable": {"cpu": "64", "memory": "64Gi", "pods": "200"},
                "conditions": [{"type": "Ready", "status": "True"}],
            });
            let write = Write::Update {
                key: node.key.clone(),
                revision: node.revision,
                object: value,
                status_only: true,
            };
            let mut stamp = Stamp {
                now_ms: 0,
                bits: &mut || 0,
            };
            let ops = commit(
                &Kinds::built_in(),
                &snapshot,
                vec![write],
                "kubectl",
                &mut stamp,
            )
            .ops;
            let results = self.propose(Proposal::batch(ops), Lane::System).await;
            match results.unwrap()[0] {
                OpResult::Done { .. } => return,
                OpResult::Conflict { .. } => {}
                ref other => panic!("{other:?}"),
            }
        }
    }

    /// Lets the loops run until they have been silent for many turns.
    async fn settle(&self) {
        let mut last = usize::MAX;
        loop {
            for _ in 0..2_000 {
                tokio::task::yield_now().await;
            }
            let now = self.n_proposals.load(Ordering::SeqCst);
            if now == last {
                return;
            }
            last = now;
        }
    }
}

fn options() -> Options {
    Options {
        clock: SystemClock::shared(),
        random: Arc::new(SeededRandom::new(5)),
        settings: Arc::new(Settings::default),
        heartbeats: Arc::new(|_| None),
        admission: Arc::new(crate::Unadmitted),
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_deployment_becomes_bound_pods_and_then_all_is_quiet() {
    let bare = Bare::default();
    let reign = Reign {
        term: TERM,
        since_ms: SystemClock::shared().unix_ms(),
    };
    let controllers = Box::pin(run(bare.clone(), options(), reign));
    let scheduler = Box::pin(crate::scheduler_loop::run(bare.clone(), options(), reign));
    let story = async {
        bare.settle().await;
        bare.create("nodes", json!({"metadata": {"name": "n1"}}))
            .await;
        bare.make_ready("n1").await;
        bare.create(
            "deployments.apps",
            json!({
                "metadata": {"name": "web", "namespace": "default"},
                "spec": {"replicas": 100, "selector": {"matchLabels": {"app": "web"}},
                    "template": {"metadata": {"labels": {"app": "web"}},
                        "spec": {"containers": [{"name": "c", "image": "i"}]}}},
            }),
        )
        .await;
        bare.settle().await;
        let snapshot = bare.store.snapshot();
        assert_eq!(snapshot.by_field("pods", "spec.nodeName", "n1").len(), 100);
        let reasons: Vec<String> = snapshot
            .list("events", Some("default"), None)
            .map(|event| event.value()["reason"].as_str().unwrap().to_owned())
            .collect();
        for (reason, count) in [
            ("ScalingReplicaSet", 1),
            ("SuccessfulCreate", 100),
            ("Scheduled", 100),
        ] {
            assert_eq!(
                reasons.iter().filter(|it| *it == reason).count(),
                count,
                "{reason}"
            );
        }
        let proposals = bare.n_proposals.load(Ordering::SeqCst);
        assert!(
            proposals < 60,
            "hundreds of writes in few proposals, not {proposals}"
        );
    };
    tokio::select! {
        ended = controllers => panic!("controllers ended: {ended:?}"),
        ended = scheduler => panic!("scheduler ended: {ended:?}"),
        () = story => {}
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
