//! Replicas join, catch up by snapshot, vote and leave; archives are saved and restored; strangers stay outside.

#![allow(clippy::unwrap_used)]

#[path = "common/cluster.rs"]
mod common;

use bytes::Bytes;
use common::{Cluster, PATIENCE, Pki, key};
use futures::StreamExt;
use kontiki_consensus::{
    CallError, Config, Consensus, MembershipError, PeerTls, Retention, StartError, offline,
};

/// Snapshots early and often, and a log that does not reach back.
const SHORT: Retention = Retention {
    snapshot_entries: 20,
    keep_entries: 5,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_replica_catches_up_by_snapshot_and_takes_over() {
    let mut cluster = Cluster::with(1, SHORT).await;
    for n in 0..60 {
        cluster.write(1, &format!("c{n}")).await.unwrap();
    }
    let purged = async {
        while cluster.get(1).status().purged_index == 0 {
            cluster.get(1).trigger_snapshot().await;
            cluster.read(1).await;
        }
    };
    tokio::time::timeout(PATIENCE, purged)
        .await
        .expect("the log is purged behind a snapshot");
    cluster.launch(2).await;
    let refused = cluster.get(1).promote(2).await.unwrap_err();
    assert!(matches!(refused, MembershipError::Refused(_)), "{refused}");
    cluster.get(1).add_learner(cluster.member(2)).await.unwrap();
    cluster.assert_equal().await;
    assert!(
        cluster.get(2).status().snapshot_index > 0,
        "it came as a snapshot"
    );
    assert!(cluster.get(2).store().snapshot().get(&key("c0")).is_some());
    assert!(
        !cluster
            .get(1)
            .members()
            .iter()
            .find(|m| m.id == 2)
            .unwrap()
            .voter
    );
    cluster.write(2, "from-the-learner").await.unwrap();

    cluster.get(2).promote(2).await.unwrap();
    assert_eq!(cluster.get(1).transfer_leader(None).await, Ok(2));
    cluster.get(1).remove(1).await.unwrap();
    cluster.read(2).await;
    assert_eq!(cluster.get(2).members().len(), 1);
    cluster.stop(1).await;
    cluster.write(2, "alone").await.unwrap();
    let last = cluster.get(2).remove(2).await.unwrap_err();
    assert!(last.to_string().contains("only voter"), "{last}");
    cluster.stop(2).await;
    cluster.launch(2).await;
    cluster.read(2).await;
    let snapshot = cluster.get(2).store().snapshot();
    assert!(snapshot.get(&key("c0")).is_some() && snapshot.get(&key("alone")).is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_replica_is_refused_until_it_returns_under_a_new_id() {
    let mut cluster = Cluster::start(3).await;
    cluster.write(1, "before").await.unwrap();
    let victim = cluster.follower().await;
    cluster.stop(victim).await;
    std::fs::remove_dir_all(cluster.dir(victim).join("log")).unwrap();
    let error = Consensus::start(cluster.config(victim))
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("were acknowledged") && error.contains("new id"),
        "{error}"
    );
    assert_eq!(error.lines().count(), 1);
    let other = Config {
        replica_id: 9,
        ..cluster.config(victim)
    };
    let error = Consensus::start(other).await.err().unwrap();
    assert!(matches!(error, StartError::Storage(_)), "{error}");

    let leader = cluster.leader().await;
    cluster.get(leader).remove(victim).await.unwrap();
    cluster.launch(4).await;
    cluster
        .get(leader)
        .add_learner(cluster.member(4))
        .await
        .unwrap();
    cluster.get(leader).promote(4).await.unwrap();
    cluster.assert_equal().await;
    assert_eq!(
        cluster
            .get(4)
            .members()
            .iter()
            .filter(|member| member.voter)
            .count(),
        3
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_restores_as_a_new_cluster_and_a_lost_quorum_is_recovered() {
    let mut cluster = Cluster::start(2).await;
    for n in 0..10 {
        cluster.write(1, &format!("c{n}")).await.unwrap();
    }
    let path = cluster.root.path().join("archive");
    let pieces = cluster
        .get(2)
        .save_snapshot(7, Default::default())
        .await
        .unwrap();
    let bytes: Vec<Bytes> = pieces.map(Result::unwrap).collect().await;
    std::fs::write(&path, bytes.concat()).unwrap();
    let revision = offline::status(&path).unwrap().revision;
    let member = cluster.member(1);
    let (_, keys) = offline::restore(
        &path,
        &cluster.dir(3),
        "restored",
        &kontiki_consensus::Member { id: 3, ..member },
    )
    .unwrap();
    let keyring = &cluster.sealing(3).keyring;
    std::fs::write(keyring, &keys[kontiki_consensus::KEYRING]).unwrap();
    let config = Config {
        cluster_id: "restored".into(),
        ..cluster.config(3)
    };
    let restored = Consensus::start(config).await.unwrap();
    let ready = async { while restored.read_barrier().await.is_err() {} };
    tokio::time::timeout(PATIENCE, ready).await.unwrap();
    assert_eq!(
        restored.store().revision(),
        revision + offline::REVISION_STEP
    );
    assert!(restored.store().snapshot().get(&key("c9")).is_some());
    assert_eq!(restored.members().len(), 1);
    restored.shutdown().await;

    let survivor = 1;
    cluster.stop(2).await;
    let member = cluster.member(survivor);
    cluster.stop(survivor).await;
    let sealing = cluster.sealing(survivor);
    offline::recover(&cluster.dir(survivor), &sealing, &member).unwrap();
    cluster.launch(survivor).await;
    cluster.read(survivor).await;
    cluster.write(survivor, "recovered").await.unwrap();
    assert_eq!(cluster.get(survivor).members().len(), 1);
    assert!(
        cluster
            .get(survivor)
            .store()
            .snapshot()
            .get(&key("c9"))
            .is_some()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_peers_certificate_of_this_cluster_opens_the_peer_port() {
    let cluster = Cluster::start(1).await;
    cluster
        .get(1)
        .handle_calls("open", std::sync::Arc::new(Open));
    let stranger = |id: u64, tls: PeerTls, cluster_id: &str| Config {
        cluster_id: cluster_id.to_owned(),
        replica_id: id,
        data_dir: cluster.root.path().join(format!("stranger-{id}")),
        peer_tls: tls,
        peer_listen: "127.0.0.1:0".parse().unwrap(),
        sealing: cluster.sealing(id),
        ..cluster.config(1)
    };
    let node = cluster.pki.certificate("system:node:n1", "system:nodes");
    let disguised = cluster.pki.certificate("replica-11", "system:nodes");
    let foreign = Pki::new().replica(12);
    let cases = [
        stranger(10, node, "test"),
        stranger(11, disguised, "test"),
        stranger(12, foreign, "test"),
        stranger(13, cluster.pki.replica(13), "other"),
    ];
    for config in cases {
        let id = config.replica_id;
        let consensus = Consensus::start(config).await.unwrap();
        // It believes in a cluster of its own with replica 1, whom it asks.
        let mut me = cluster.member(1);
        (me.id, me.peer_endpoint) = (id, consensus.peer_address().unwrap().to_string());
        consensus
            .bootstrap(vec![me, cluster.member(1)])
            .await
            .unwrap();
        let answer = consensus.call(1, "open", Bytes::new()).await;
        let error = answer.err().unwrap();
        assert!(
            matches!(error, CallError::Unreachable(_)),
            "stranger {id}: {error:?}"
        );
        consensus.shutdown().await;
    }
    let term = cluster.get(1).leadership().borrow().term;
    cluster.write(1, "undisturbed").await.unwrap();
    assert_eq!(cluster.get(1).leadership().borrow().term, term);
}

struct Open;

impl kontiki_consensus::CallHandler for Open {
    fn call(
        &self,
        _from: u64,
        _payload: Bytes,
    ) -> futures::future::BoxFuture<'static, Result<kontiki_consensus::CallStream, CallError>> {
        Box::pin(async { Ok(futures::stream::empty().boxed()) })
    }
}
