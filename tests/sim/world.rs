//! The world: replicas with their lives, the faults, and the schedule of one seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kontiki_base::random::{Random as _, SeededRandom};
use openraft::async_runtime::WatchReceiver as _;
use openraft::impls::EmptyNode;
use parking_lot::Mutex;

use crate::client;
use crate::disk::{Disk, Durable, Image};
use crate::machine::{Machine, Replica};
use crate::network::Network;
use crate::oracle::Oracle;
use crate::types::{Id, Raft};

const REPLICAS: Id = 3;
const CLIENTS: u64 = 4;
/// How long faults fire, in simulated time, and how long the cluster then gets to agree.
const FAULTS: Duration = Duration::from_secs(6);
const HEAL: Duration = Duration::from_secs(60);
/// One persist point in so many is a crash.
const CRASH_ONE_IN: u64 = 250;
const DROP_ONE_IN: u64 = 30;
const DUPLICATE_ONE_IN: u64 = 20;

/// What happened in a run; also whether faults fired at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    pub acknowledged: u64,
    pub unknown: u64,
    pub reads: u64,
    pub crashes: u64,
    pub dropped: u64,
    pub duplicated: u64,
    pub partitions: u64,
    pub snapshots: u64,
    pub revision: u64,
}

impl Outcome {
    /// Sums up.
    pub fn add(&mut self, other: &Self) {
        self.acknowledged += other.acknowledged;
        self.unknown += other.unknown;
        self.reads += other.reads;
        self.crashes += other.crashes;
        self.dropped += other.dropped;
        self.duplicated += other.duplicated;
        self.partitions += other.partitions;
        self.snapshots += other.snapshots;
        self.revision += other.revision;
    }
}

/// One replica: its disk over all lives, and its present life when it has one.
#[derive(Default)]
struct Seat {
    durable: Arc<Mutex<Durable>>,
    life: u64,
    running: Option<(Raft, Machine)>,
    /// Raft handles of past lives: kept, so that none ends in good order.
    dead: Vec<Raft>,
}

/// Everything that a seed decides.
pub struct World {
    random: SeededRandom,
    seats: Mutex<BTreeMap<Id, Seat>>,
    /// Pairs that cannot reach each other.
    cut: Mutex<BTreeSet<(Id, Id)>>,
    faulty: Mutex<bool>,
    pub oracle: Oracle,
    outcome: Mutex<Outcome>,
}

/// Starts a task of the simulation, with its own branch of the seed's randomness.
pub fn spawn<F: Future<Output = ()> + Send + 'static>(future: F) {
    use openraft_rt::AsyncRuntime as _;
    drop(crate::types::Runtime::spawn(future));
}

impl World {
    /// Runs one seed to its end and checks it.
    pub async fn run(seed: u64) -> Outcome {
        let world = Arc::new(Self {
            random: SeededRandom::new(seed),
            seats: Mutex::new((1..=REPLICAS).map(|id| (id, Seat::default())).collect()),
            cut: Mutex::default(),
            faulty: Mutex::new(false),
            oracle: Oracle::default(),
            outcome: Mutex::default(),
        });
        for id in 1..=REPLICAS {
            world.start(id).await;
        }
        let members: BTreeMap<Id, EmptyNode> = (1..=REPLICAS)
            .map(|id| (id, EmptyNode::default()))
            .collect();
        world.raft(1).unwrap().initialize(members).await.unwrap();
        // Faults begin with a cluster: one that was never made has nothing to lose.
        world.agree().await;
        *world.faulty.lock() = true;
        let stop = tokio::time::Instant::now() + FAULTS;
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (done, wait) = tokio::sync::oneshot::channel();
                let world = world.clone();
                spawn(async move {
                    client::work(world, client, stop).await;
                    let _ = done.send(());
                });
                wait
            })
            .collect();
        world.clone().make_faults(stop).await;
        for client in clients {
            client.await.unwrap();
        }
        world.heal().await;
        world.finish().await
    }

    /// A number below `bound` from the seed.
    pub fn below(&self, bound: u64) -> u64 {
        self.random.below(bound)
    }

    fn one_in(&self, n: u64) -> bool {
        *self.faulty.lock() && self.random.below(n) == 0
    }

    /// The present life of a replica.
    pub fn life(&self, id: Id) -> u64 {
        self.seats.lock()[&id].life
    }

    /// The running Raft of a replica.
    pub fn raft(&self, id: Id) -> Option<Raft> {
        self.seats.lock()[&id]
            .running
            .as_ref()
            .map(|(raft, _)| raft.clone())
    }

    /// The running state of a replica.
    pub fn machine(&self, id: Id) -> Option<Machine> {
        self.seats.lock()[&id]
            .running
            .as_ref()
            .map(|(_, machine)| machine.clone())
    }

    /// The newest state of a running replica.
    pub fn machine_image(&self, id: Id) -> Option<Image> {
        self.machine(id)
            .map(|machine| machine.replica.lock().image())
    }

    async fn start(self: &Arc<Self>, id: Id) {
        let (life, durable) = {
            let mut seats = self.seats.lock();
            let seat = seats.get_mut(&id).unwrap();
            seat.life += 1;
            (seat.life, seat.durable.clone())
        };
        let replica = Replica::load(&durable.lock().machine);
        let disk = Disk::open(self.clone(), id, life, durable);
        let machine = Machine {
            replica: Arc::new(Mutex::new(replica)),
            disk: disk.clone(),
        };
        let network = Network {
            world: self.clone(),
            from: id,
            life,
        };
        let config = openraft::Config {
            cluster_name: "simulation".into(),
            heartbeat_interval: 50,
            election_timeout_min: 200,
            election_timeout_max: 400,
            enable_pre_vote: Some(true),
            enable_leader_restore: Some(false),
            snapshot_policy: openraft::SnapshotPolicy::LogsSinceLast(30),
            max_in_snapshot_log_to_keep: 10,
            ..openraft::Config::default()
        };
        let config = Arc::new(config.validate().unwrap());
        let raft = Raft::new(id, config, network, disk, machine.clone())
            .await
            .unwrap();
        let mut seats = self.seats.lock();
        let seat = seats.get_mut(&id).unwrap();
        // It may have crashed while it started.
        if seat.life == life {
            seat.running = Some((raft, machine));
        } else {
            seat.dead.push(raft);
        }
    }

    /// Ends a life: nothing that is not durable is left, and nothing of it reaches anybody.
    fn crash(&self, id: Id) {
        let mut seats = self.seats.lock();
        let seat = seats.get_mut(&id).unwrap();
        seat.life += 1;
        if let Some((raft, _)) = seat.running.take() {
            seat.dead.push(raft);
            self.outcome.lock().crashes += 1;
        }
    }

    /// Whether the life of a replica ends here; true also when it ended before.
    pub fn crash_point(&self, id: Id, life: u64) -> bool {
        if self.life(id) != life {
            return true;
        }
        if self.raft(id).is_none() || !self.one_in(CRASH_ONE_IN) {
            return false;
        }
        self.crash(id);
        true
    }

    /// The receiver of a message after its way, or none when it does not arrive.
    pub async fn deliver(&self, from: Id, life: u64, to: Id) -> Option<Raft> {
        let delay = self.below(8) + if self.one_in(25) { self.below(150) } else { 0 };
        tokio::time::sleep(Duration::from_millis(delay)).await;
        let cut = self.cut.lock().contains(&(from.min(to), from.max(to)));
        if self.one_in(DROP_ONE_IN) {
            self.outcome.lock().dropped += 1;
            return None;
        }
        if cut || self.life(from) != life {
            return None;
        }
        self.raft(to)
    }

    /// Whether a message arrives twice.
    pub fn duplicates(&self) -> bool {
        let twice = self.one_in(DUPLICATE_ONE_IN);
        if twice {
            self.outcome.lock().duplicated += 1;
        }
        twice
    }

    async fn make_faults(self: Arc<Self>, until: tokio::time::Instant) {
        while tokio::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(200 + self.below(1500))).await;
            match self.below(4) {
                0 => self.crash(1 + self.below(REPLICAS)),
                1 => {
                    let alone = 1 + self.below(REPLICAS);
                    let others = (1..=REPLICAS).filter(|id| *id != alone);
                    *self.cut.lock() = others
                        .map(|other| (alone.min(other), alone.max(other)))
                        .collect();
                    self.outcome.lock().partitions += 1;
                }
                2 => self.cut.lock().clear(),
                _ => {}
            }
            self.restart_the_dead().await;
        }
    }

    async fn restart_the_dead(self: &Arc<Self>) {
        for id in 1..=REPLICAS {
            if self.raft(id).is_none() {
                tokio::time::sleep(Duration::from_millis(self.below(300))).await;
                self.start(id).await;
            }
        }
    }

    /// Ends all faults and waits until all replicas agree.
    async fn heal(self: &Arc<Self>) {
        *self.faulty.lock() = false;
        self.cut.lock().clear();
        self.restart_the_dead().await;
        self.agree().await;
    }

    /// Waits until all replicas follow one leader and have applied the same index.
    async fn agree(&self) {
        let agreed = async {
            loop {
                tokio::time::sleep(Duration::from_millis(100)).await;
                let applied: BTreeSet<_> = (1..=REPLICAS)
                    .map(|id| {
                        self.machine(id)
                            .unwrap()
                            .replica
                            .lock()
                            .applied
                            .map(|id| id.index)
                    })
                    .collect();
                let led = self.raft(1).unwrap().current_leader().await.is_some();
                if applied.len() == 1 && !applied.contains(&None) && led {
                    return;
                }
            }
        };
        if tokio::time::timeout(HEAL, agreed).await.is_err() {
            for id in 1..=REPLICAS {
                let metrics = self.raft(id).unwrap().metrics();
                eprintln!("replica {id}: {:?}", *metrics.borrow_watched());
            }
            panic!("replicas do not agree though no fault is left");
        }
    }

    async fn finish(&self) -> Outcome {
        let machines: Vec<Machine> = (1..=REPLICAS).map(|id| self.machine(id).unwrap()).collect();
        let hashes: BTreeSet<u64> = machines
            .iter()
            .map(|machine| machine.replica.lock().state.hash())
            .collect();
        assert_eq!(hashes.len(), 1, "replicas differ at the same index");
        let replica = machines[0].replica.lock();
        let mut outcome = self.outcome.lock().clone();
        self.oracle.check(&replica.state, &mut outcome);
        outcome
    }
}
