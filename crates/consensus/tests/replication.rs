//! Writes, reads, restarts and changes of leader.

#![allow(clippy::unwrap_used)]

#[path = "common/cluster.rs"]
mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::{Cluster, PATIENCE, create, key};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use kontiki_base::task::{TaskKind, spawn};
use kontiki_consensus::{
    CallError, CallHandler, CallStream, Consensus, Lane, ProposeError, ReplicaId,
};
use kontiki_state::OpResult;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_on_any_replica_is_readable_there_at_once_and_everywhere_after_a_barrier() {
    let cluster = Cluster::start(3).await;
    for id in 1..=3 {
        let name = format!("from-{id}");
        let results = cluster.write(id, &name).await.unwrap();
        assert!(results[0].is_done(), "{results:?}");
        assert!(
            results[0].object().is_some(),
            "applied here, so the object comes along"
        );
        assert!(
            cluster
                .get(id)
                .store()
                .snapshot()
                .get(&key(&name))
                .is_some(),
            "own write"
        );
        for other in 1..=3 {
            cluster.get(other).read_barrier().await.unwrap();
            assert!(
                cluster
                    .get(other)
                    .store()
                    .snapshot()
                    .get(&key(&name))
                    .is_some()
            );
        }
    }
    cluster.assert_equal().await;
    let leader = cluster.leader().await;
    let status = cluster.get(leader).status();
    assert!(status.leadership.is_leader && status.members.len() == 3);
    assert!(
        status
            .members
            .iter()
            .all(|member| member.voter && member.matched_index.is_some())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_all_replicas_keeps_everything() {
    let mut cluster = Cluster::start(3).await;
    for n in 0..50 {
        cluster.write(1 + n % 3, &format!("c{n}")).await.unwrap();
    }
    cluster.read(1).await;
    let before = (
        cluster.get(1).store().revision(),
        cluster.get(1).store().hash(),
    );
    for id in 1..=3 {
        cluster.stop(id).await;
    }
    for id in 1..=3 {
        cluster.launch(id).await;
    }
    cluster.assert_equal().await;
    assert_eq!(
        (
            cluster.get(1).store().revision(),
            cluster.get(1).store().hash()
        ),
        before
    );
    cluster.write(2, "after").await.unwrap();
    assert!(cluster.get(1).is_bootstrapped().await);
    cluster
        .get(1)
        .bootstrap(vec![cluster.member(1)])
        .await
        .unwrap();
    assert_eq!(
        cluster.get(1).members().len(),
        3,
        "a second bootstrap changes nothing"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_go_on_while_leaders_come_and_go() {
    let mut cluster = Cluster::start(3).await;
    let first = cluster.leader().await;
    let survivor = cluster.follower().await;
    let old_term = cluster.get(first).leadership().borrow().term;
    let writer = {
        let replica = cluster.get(survivor).clone();
        spawn(TaskKind::Command, async move {
            let mut written = Vec::new();
            for n in 0..200 {
                let name = format!("w{n}");
                match replica.propose(create(&name), Lane::User).await {
                    Ok(results) => {
                        assert!(results[0].is_done());
                        written.push(name);
                    }
                    Err(error) => assert_eq!(error, ProposeError::Unknown, "never a false refusal"),
                }
            }
            written
        })
    };
    cluster.stop(first).await;
    let second = cluster.leader().await;
    assert_ne!(second, first);
    cluster.launch(first).await;
    let back =
        async { while cluster.get(survivor).transfer_leader(Some(first)).await != Ok(first) {} };
    tokio::time::timeout(PATIENCE, back)
        .await
        .expect("leadership returns");
    let written = tokio::time::timeout(PATIENCE, writer)
        .await
        .unwrap()
        .unwrap();
    assert!(written.len() > 190, "{} of 200 writes", written.len());
    cluster.assert_equal().await;
    let snapshot = cluster.get(first).store().snapshot();
    assert!(
        written
            .iter()
            .all(|name| snapshot.get(&key(name)).is_some()),
        "acknowledged means there"
    );

    let fenced = cluster
        .get(survivor)
        .propose(create("fenced").fenced(old_term), Lane::System)
        .await;
    assert!(
        matches!(fenced.unwrap()[0], OpResult::Fenced { .. }),
        "another term's work is refused"
    );
    let now = cluster.get(first).leadership().borrow().term;
    let allowed = cluster
        .get(first)
        .propose(create("fenced").fenced(now), Lane::System)
        .await;
    assert!(allowed.unwrap()[0].is_done());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_a_write_is_refused_or_unknown_and_a_read_fails() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    for id in (1..=3).filter(|id| *id != leader) {
        let replica = cluster.replicas[id as usize - 1].take().unwrap();
        replica.shutdown().await;
    }
    let (write, read) = tokio::join!(
        cluster.write(leader, "lost"),
        cluster.get(leader).read_barrier()
    );
    assert!(
        matches!(write, Err(ProposeError::Unknown | ProposeError::NoLeader)),
        "{write:?}"
    );
    assert!(read.is_err(), "a leader without a quorum confirms nothing");
    let oversized = common::sized("big", kontiki_base::limits::OBJECT_BYTES + 1);
    let refused = cluster.get(leader).propose(oversized, Lane::User).await;
    assert_eq!(refused, Err(ProposeError::TooLarge));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_leader_leads_again_only_in_a_new_term() {
    let mut cluster = Cluster::start(1).await;
    let before = cluster.get(1).leadership().borrow().term;
    cluster.write(1, "acknowledged").await.unwrap();
    cluster.stop(1).await;
    cluster.launch(1).await;
    cluster.read(1).await;
    cluster.leader().await;
    let after = cluster.get(1).leadership().borrow().term;
    assert!(
        after > before,
        "term {after} after {before}: its fences and read index would be stale"
    );
    assert!(
        cluster
            .get(1)
            .store()
            .snapshot()
            .get(&key("acknowledged"))
            .is_some()
    );
}

struct Echo(Consensus);

impl CallHandler for Echo {
    fn call(
        &self,
        from: ReplicaId,
        payload: Bytes,
    ) -> BoxFuture<'static, Result<CallStream, CallError>> {
        let me = self.0.id();
        let answers = (0..3).map(move |n| Ok(format!("{from}>{me}:{n}:{payload:?}").into()));
        async move { Ok(futures::stream::iter(answers).boxed()) }.boxed()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_call_one_another() {
    let cluster = Cluster::start(2).await;
    cluster
        .get(2)
        .handle_calls("echo", Arc::new(Echo(cluster.get(2).clone())));
    for from in [1, 2] {
        let answers = cluster
            .get(from)
            .call(2, "echo", Bytes::from_static(b"hi"))
            .await
            .unwrap();
        let answers: Vec<_> = answers.map(Result::unwrap).collect().await;
        assert_eq!(answers.len(), 3);
        assert_eq!(answers[2], format!("{from}>2:2:b\"hi\""));
    }
    let unknown = cluster
        .get(1)
        .call(2, "nothing", Bytes::new())
        .await
        .err()
        .unwrap();
    assert_eq!(unknown, CallError::UnknownMethod("nothing".into()));
    let unknown = cluster
        .get(1)
        .call(9, "echo", Bytes::new())
        .await
        .err()
        .unwrap();
    assert_eq!(unknown, CallError::UnknownReplica(9));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_outlives_thousands_of_forwarded_proposals() {
    const CALLERS: usize = 64;
    const EACH: usize = 150;
    let cluster = Cluster::start(3).await;
    let follower = cluster.follower().await;
    let callers = (0..CALLERS).map(|caller| {
        let follower = cluster.get(follower).clone();
        spawn(TaskKind::Command, async move {
            for n in 0..EACH {
                let proposal = create(&format!("forwarded-{caller}-{n}"));
                let results = follower.propose(proposal, Lane::User).await;
                assert!(results.unwrap()[0].is_done());
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    cluster.assert_equal().await;
}
