//! Leader kills: from SIGKILL of the leader to the next write that its successor acknowledges.
//!
//! Works on a cluster of `kontiki up`. A probe writes every ten milliseconds through the replicas that are left, each
//! write on a connection that was open before the kill; the killed replica is started again before the next round.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures::FutureExt as _;
use kontiki_base::task::{TaskKind, spawn};
use kontiki_proto::cluster::GetStatusRequest;
use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::load::{self, json_bytes};
use super::{Bench, CONNECTIONS, Load, Report, percentile};
use crate::config;
use crate::https::{Client, Connection};
use crate::kubeconfig::{self, Access};
use crate::local::layout::Layout;
use crate::local::process::Process;
use crate::local::settings::{Settings, loopback};
use crate::{client, output};

/// Between two probes.
const PROBE_PERIOD: Duration = Duration::from_millis(10);
/// Connections that probe each replica: a probe that finds none free is left out.
const PROBE_CONNECTIONS: usize = 16;
/// Longest wait for a successor, and for the killed replica to be back.
const ROUND_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two looks at a replica that comes back.
const POLL: Duration = Duration::from_millis(100);

/// The measurement.
pub const BENCH: Bench = Bench {
    name: "failover",
    default_count: 20,
    default_connections: CONNECTIONS,
    run: |load| {
        async move {
            let local = load.local.clone();
            let local = local.context(
                "failover kills replicas of a cluster of `kontiki up`: name its --data-dir",
            )?;
            let cluster = Cluster::open(local)?;
            load::make_namespace(&load).await?;
            let outcome = rounds(&cluster, &load).await;
            load::remove_namespace(&load).await?;
            Ok(Box::new(outcome?) as Box<dyn Report>)
        }
        .boxed()
    },
};

/// One kill.
#[derive(Debug)]
struct Round {
    killed: u64,
    successor: u64,
    gap: Duration,
}

#[derive(Debug)]
struct Failovers {
    rounds: Vec<Round>,
}

struct Cluster {
    layout: Layout,
    settings: Settings,
    access: Access,
}

/// A free connection of the probe; none when it broke.
struct Slot {
    name: String,
    client: Client,
    connection: Option<Connection>,
}

async fn rounds(cluster: &Cluster, load: &Load) -> Result<Failovers> {
    let mut rounds = Vec::new();
    for _ in 0..load.count {
        cluster.settle(&load.namespace).await?;
        rounds.push(cluster.kill_leader(&load.namespace).await?);
    }
    cluster.settle(&load.namespace).await?;
    Ok(Failovers { rounds })
}

impl Cluster {
    fn open(layout: Layout) -> Result<Self> {
        let settings: Settings = config::load(&layout.settings())?;
        if settings.servers < 3 {
            bail!("a cluster of fewer than 3 replicas has no failover to measure");
        }
        let access = kubeconfig::read(&layout.kubeconfig())?;
        Ok(Self {
            layout,
            settings,
            access,
        })
    }

    fn ids(&self) -> impl Iterator<Item = u64> {
        1..=u64::from(self.settings.servers)
    }

    fn process(&self, id: u64) -> Process {
        Process::new(&self.layout, &Settings::server_name(id as u32))
    }

    fn access(&self, id: u64) -> Access {
        let (api, _) = self.settings.server_ports[id as usize - 1];
        Access {
            server: format!("https://{}", loopback(api)),
            ..self.access.clone()
        }
    }

    /// Starts what does not run, and waits until a write through each replica is acknowledged: it has caught up then.
    async fn settle(&self, namespace: &str) -> Result<()> {
        for id in self.ids() {
            self.process(id).ensure("server")?;
        }
        let deadline = Instant::now() + ROUND_TIMEOUT;
        for id in self.ids() {
            while let Err(error) = self.write_through(id, namespace).await {
                self.process(id).check_running()?;
                if Instant::now() > deadline {
                    return Err(error.context(format!("replica {id} did not come back")));
                }
                sleep(POLL).await;
            }
        }
        Ok(())
    }

    async fn write_through(&self, id: u64, namespace: &str) -> Result<()> {
        let mut connection = Client::new(self.access(id))?.connect().await?;
        let path = config_maps(namespace);
        let body = config_map(&format!("settled-{id}"), "");
        let answer = timeout(ROUND_TIMEOUT, connection.send("POST", &path, body)).await??;
        if answer.code != 409 {
            answer.json()?;
        }
        Ok(())
    }

    /// Who leads, by the word of any replica but `except`.
    async fn leader(&self, except: Option<u64>) -> Result<u64> {
        for id in self.ids().filter(|id| Some(*id) != except) {
            let Ok(mut cluster) = client::cluster(&self.access(id)).await else {
                continue;
            };
            let status = cluster.get_status(GetStatusRequest {}).await;
            let leader = status.map_or(0, |status| status.into_inner().leader_id);
            if leader != 0 && Some(leader) != except {
                return Ok(leader);
            }
        }
        bail!("no replica knows a leader")
    }

    async fn kill_leader(&self, namespace: &str) -> Result<Round> {
        let leader = self.leader(None).await?;
        let (free, mut slots) = mpsc::channel(PROBE_CONNECTIONS * self.settings.servers as usize);
        for idx in 0..PROBE_CONNECTIONS {
            for id in self.ids().filter(|id| *id != leader) {
                let slot = Slot::open(Client::new(self.access(id))?, namespace, id, idx).await?;
                free.try_send(slot)
                    .map_err(|_| anyhow::anyhow!("more connections than places"))?;
            }
        }
        let pid = self.process(leader).pid();
        let pid = pid.with_context(|| format!("replica {leader} does not run"))?;
        let killed_at = Instant::now();
        kill(pid, Signal::SIGKILL)?;
        let acknowledged = timeout(ROUND_TIMEOUT, probe(namespace, &free, &mut slots)).await;
        let gap = killed_at.elapsed();
        acknowledged.context("no write was acknowledged after a leader's end")?;
        Ok(Round {
            killed: leader,
            successor: self.leader(Some(leader)).await?,
            gap,
        })
    }
}

/// Writes every ten milliseconds until a write is acknowledged.
async fn probe(namespace: &str, free: &mpsc::Sender<Slot>, slots: &mut mpsc::Receiver<Slot>) {
    let (acknowledge, mut acknowledged) = mpsc::channel::<()>(1);
    let mut ticks = interval(PROBE_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = acknowledged.recv() => return,
            _ = ticks.tick() => {}
        }
        let Ok(mut slot) = slots.try_recv() else {
            continue;
        };
        let (free, acknowledge) = (free.clone(), acknowledge.clone());
        let namespace = namespace.to_owned();
        spawn(TaskKind::Command, async move {
            if slot.write(&namespace).await.is_ok() {
                let _ = acknowledge.try_send(());
            }
            let _ = free.try_send(slot);
        });
    }
}

impl Slot {
    /// Connects, and makes the object that this slot writes.
    async fn open(client: Client, namespace: &str, replica: u64, idx: usize) -> Result<Self> {
        let name = format!("probe-{replica}-{idx}");
        let mut connection = client.connect().await?;
        let path = config_maps(namespace);
        let made = connection.send("POST", &path, config_map(&name, ""));
        let made = made.await?;
        if made.code != 409 {
            made.json()?;
        }
        Ok(Self {
            name,
            client,
            connection: Some(connection),
        })
    }

    async fn write(&mut self, namespace: &str) -> Result<()> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.client.connect().await?,
        };
        let path = format!("{}/{}", config_maps(namespace), self.name);
        // Another value each time, also when an object is left from an earlier run: a write of the same changes nothing.
        let body = config_map(&self.name, &crate::join::random_hex(8));
        connection.send("PUT", &path, body).await?.json()?;
        self.connection = Some(connection);
        Ok(())
    }
}

fn config_maps(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/configmaps")
}

fn config_map(name: &str, value: &str) -> Bytes {
    json_bytes(&json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": name }, "data": { "value": value },
    }))
}

impl Failovers {
    fn sorted_ms(&self) -> Vec<f64> {
        let mut gaps: Vec<Duration> = self.rounds.iter().map(|round| round.gap).collect();
        gaps.sort_unstable();
        gaps.iter().map(|gap| gap.as_secs_f64() * 1e3).collect()
    }
}

impl Report for Failovers {
    fn to_json(&self) -> Value {
        let ms = self.sorted_ms();
        let rounds = self.rounds.iter().map(|round| {
            json!({
                "killed": round.killed,
                "successor": round.successor,
                "gapMs": round.gap.as_secs_f64() * 1e3,
            })
        });
        json!({
            "bench": BENCH.name,
            "rounds": rounds.collect::<Vec<_>>(),
            "p50Ms": percentile(&ms, 50),
            "p99Ms": percentile(&ms, 99),
            "maxMs": ms.last(),
        })
    }

    fn print(&self) {
        let row = |(idx, round): (usize, &Round)| {
            vec![
                (idx + 1).to_string(),
                round.killed.to_string(),
                round.successor.to_string(),
                format!("{:.0}", round.gap.as_secs_f64() * 1e3),
            ]
        };
        let rows: Vec<_> = self.rounds.iter().enumerate().map(row).collect();
        output::table(&["ROUND", "KILLED", "SUCCESSOR", "GAP MS"], &rows);
        let ms = self.sorted_ms();
        println!(
            "\nleader SIGKILL to next acknowledged write: p50 {:.0} ms, p99 {:.0} ms, max {:.0} ms",
            percentile(&ms, 50).unwrap_or_default(),
            percentile(&ms, 99).unwrap_or_default(),
            ms.last().copied().unwrap_or_default(),
        );
    }
}
