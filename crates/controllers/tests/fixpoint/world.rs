//! A small world for controllers: an in-memory state, a clock that is set, and a fake kubelet and scheduler.
//!
//! Every step reconciles all keys of all controllers against one snapshot and applies the writes; the fixpoint is
//! reached when nothing changes any more.

use std::collections::{BTreeMap, BTreeSet};

use kontiki_api::{Kinds, by_resource, stored, time};
use kontiki_controllers::commit::{Stamp, commit, header_of};
use kontiki_controllers::{CONTROLLERS, Propagation, Settings, View, WorkKey, Write, defined};
use kontiki_state::{Command, Key, Op, Precondition, Proposal, Snapshot, State};
use serde_json::{Value, json};

/// What must hold of every state.
pub type Check = Box<dyn Fn(&Snapshot)>;

pub struct World {
    pub state: State,
    pub now_ms: u64,
    index: u64,
    bits: u64,
    pub settings: Settings,
    pub kinds: Kinds,
    pub heartbeats: BTreeMap<String, u64>,
    /// Checked after every applied step.
    pub check: Option<Check>,
    /// Pods are made ready by the fake kubelet.
    pub kubelet: bool,
    pub n_steps: usize,
    /// Controllers' writes until the manager dies once, in the midst of a plan.
    pub dies_after: Option<usize>,
    /// The controllers that run, by name, if not all.
    pub only: Option<&'static [&'static str]>,
    /// Views of the past, if they are kept: a controller may be shown them again.
    pub past: Option<Vec<Snapshot>>,
}

impl World {
    pub fn new() -> Self {
        let mut world = Self {
            state: State::new(),
            now_ms: 1_767_322_800_000,
            index: 0,
            bits: 1,
            settings: Settings::default(),
            kinds: Kinds::built_in(),
            heartbeats: BTreeMap::new(),
            check: None,
            kubelet: true,
            n_steps: 0,
            dies_after: None,
            only: None,
            past: None,
        };
        world.settle();
        world
    }

    pub fn snapshot(&self) -> Snapshot {
        self.state.snapshot()
    }

    fn apply(&mut self, ops: Vec<Op>, atomic: bool) {
        self.index += 1;
        let mut proposal = Proposal::batch(ops);
        proposal.atomic = atomic;
        self.state.apply(
            self.index,
            1,
            &Command::Batch {
                proposals: vec![proposal],
            },
        );
        self.state.validate().unwrap();
        if let Some(check) = &self.check {
            check(&self.state.snapshot());
        }
    }

    /// Commits what a user writes.
    pub fn commit(&mut self, writes: Vec<Write>, atomic: bool) {
        self.commit_as("kubectl", writes, atomic);
    }

    fn commit_as(&mut self, manager: &str, writes: Vec<Write>, atomic: bool) {
        let snapshot = self.state.snapshot();
        let bits = &mut self.bits;
        let mut draw = || {
            *bits = bits
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *bits ^ (*bits >> 33)
        };
        let mut stamp = Stamp {
            now_ms: self.now_ms,
            bits: &mut draw,
        };
        let committed = commit(&self.kinds, &snapshot, writes, manager, &mut stamp);
        if !committed.ops.is_empty() {
            self.apply(committed.ops, atomic);
        }
    }

    pub fn create(&mut self, resource: &str, object: Value) {
        let write = Write::Create {
            resource: resource.into(),
            object,
            announce: None,
        };
        self.commit(vec![write], false);
    }

    /// A node that is heard of for ever.
    pub fn add_node(&mut self, name: &str) {
        let labels = json!({"kubernetes.io/hostname": name});
        self.create(
            "nodes",
            json!({"metadata": {"name": name, "labels": labels}}),
        );
        self.edit("nodes", "", name, |node| {
            node["status"] = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        });
        self.heartbeats.insert(name.into(), u64::MAX / 2);
    }

    pub fn edit(
        &mut self,
        resource: &str,
        namespace: &str,
        name: &str,
        edit: impl FnOnce(&mut Value),
    ) {
        let stored = self
            .state
            .snapshot()
            .find(resource, namespace, name)
            .unwrap();
        let mut object = stored.value();
        edit(&mut object);
        let (key, revision) = (stored.key.clone(), stored.revision);
        self.commit(
            vec![Write::Update {
                key,
                revision,
                object,
                status_only: false,
            }],
            false,
        );
    }

    pub fn delete(
        &mut self,
        resource: &str,
        namespace: &str,
        name: &str,
        propagation: Propagation,
    ) {
        let stored = self
            .state
            .snapshot()
            .find(resource, namespace, name)
            .unwrap();
        let (key, uid) = (stored.key.clone(), stored.header.uid.clone());
        let write = Write::Delete {
            key,
            uid,
            revision: None,
            grace_seconds: None,
            propagation,
        };
        self.commit(vec![write], false);
    }

    pub fn list(&self, resource: &str, namespace: &str) -> Vec<Value> {
        let snapshot = self.state.snapshot();
        snapshot
            .list(resource, Some(namespace), None)
            .map(|object| object.value())
            .collect()
    }

    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        self.state
            .snapshot()
            .find(resource, namespace, name)
            .map(|object| object.value())
    }

    fn keys(&self, view: &View<'_>) -> BTreeSet<(usize, WorkKey)> {
        let mut keys = BTreeSet::new();
        let runs = |name| self.only.is_none_or(|only| only.contains(&name));
        let controllers = CONTROLLERS.iter().enumerate();
        for (idx, controller) in controllers.filter(|(_, it)| runs(it.name())) {
            keys.extend(controller.initial().into_iter().map(|key| (idx, key)));
            for watch in controller.watches() {
                for object in view.snapshot.objects() {
                    if watch.resource.is_empty() || watch.resource == &*object.key.resource {
                        keys.extend((watch.map)(view, object).into_iter().map(|key| (idx, key)));
                    }
                }
            }
        }
        keys
    }

    /// One round of everything. Returns whether something changed.
    pub fn step(&mut self) -> bool {
        let before = self.state.snapshot().revision();
        let snapshot = self.state.snapshot();
        if let Some(past) = &mut self.past {
            past.push(snapshot.clone());
        }
        let mortal = self.dies_after.is_some();
        self.reconcile_by(&snapshot);
        let died = mortal && self.dies_after.is_none();
        self.run_pods();
        self.n_steps += 1;
        died || self.state.snapshot().revision() != before
    }

    /// All controllers act on a view of now or of the past.
    pub fn reconcile_by(&mut self, snapshot: &Snapshot) {
        let heartbeats = self.heartbeats.clone();
        let settings = self.settings.clone();
        self.kinds = defined(&self.kinds, snapshot);
        let kinds = self.kinds.clone();
        let view = View {
            snapshot,
            now_ms: self.now_ms,
            heartbeats: &|node: &str| heartbeats.get(node).copied(),
            leader_since_ms: 0,
            settings: &settings,
            kinds: &kinds,
        };
        let mut plans = Vec::new();
        for (idx, key) in self.keys(&view) {
            plans.push((idx, CONTROLLERS[idx].reconcile(&view, &key).unwrap()));
        }
        for (idx, plan) in plans {
            let Some(writes) = self.before_death(plan.writes, plan.atomic) else {
                self.dies_after = None;
                return;
            };
            self.commit_as(CONTROLLERS[idx].field_manager(), writes, plan.atomic);
        }
    }

    /// What of a plan is written before the manager dies; nothing any more when it has.
    fn before_death(&mut self, mut writes: Vec<Write>, atomic: bool) -> Option<Vec<Write>> {
        let Some(left) = self.dies_after else {
            return Some(writes);
        };
        if left == 0 {
            return None;
        }
        if !atomic {
            writes.truncate(left);
        }
        self.dies_after = Some(left - writes.len().min(left));
        Some(writes)
    }

    /// Runs until nothing changes.
    pub fn settle(&mut self) {
        let mut last = 0;
        for _ in 0..100 {
            last = self.state.snapshot().revision();
            if !self.step() {
                return;
            }
        }
        let snapshot = self.state.snapshot();
        let restless = snapshot.objects().filter(|object| object.revision > last);
        let restless: Vec<String> = restless.map(|it| format!("{}", it.value())).collect();
        panic!("no fixpoint, still changing: {restless:#?}");
    }

    /// Binds pods, makes them ready, ends those that are deleted.
    fn run_pods(&mut self) {
        if !self.kubelet {
            return;
        }
        let kind = by_resource("pods").unwrap();
        let mut ops = Vec::new();
        for object in self.state.snapshot().list("pods", None, None) {
            let mut pod = object.value();
            let pre = Precondition::revision(object.revision);
            let phase = pod["status"]["phase"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            if object.header.deleting {
                pod["metadata"]["deletionGracePeriodSeconds"] = json!(0);
                if pod["metadata"]["finalizers"].is_null() {
                    ops.push(Op::Delete {
                        key: object.key.clone(),
                        pre,
                    });
                    continue;
                }
            } else if phase != "Running" && phase != "Succeeded" && phase != "Failed" {
                pod["spec"]["nodeName"] = pinned(&pod).unwrap_or_else(|| json!("n1"));
                pod["status"] = json!({
                    "phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}],
                    "conditions": [{"type": "Ready", "status": "True",
                        "lastTransitionTime": time::rfc3339(self.now_ms)}],
                });
            } else {
                continue;
            }
            let header = header_of(kind, &pod);
            let bytes = stored::canonical(pod);
            ops.push(Op::Update {
                key: object.key.clone(),
                pre,
                header,
                bytes,
            });
        }
        if !ops.is_empty() {
            self.apply(ops, false);
        }
    }

    /// Ends the pods of a job, as its containers would.
    pub fn end_pods(&mut self, phase: &str) {
        let pods: Vec<Key> = self
            .state
            .snapshot()
            .list("pods", None, None)
            .map(|pod| pod.key.clone())
            .collect();
        for key in pods {
            self.edit("pods", &key.namespace, &key.name, |pod| {
                if pod["status"]["phase"] == "Running" {
                    pod["status"]["phase"] = json!(phase);
                    pod["status"]["conditions"] = json!([]);
                }
            });
        }
    }
}

/// The node that a daemon's pod asks for.
fn pinned(pod: &Value) -> Option<Value> {
    let terms = pod.pointer(
        "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms",
    )?;
    terms.pointer("/0/matchFields/0/values/0").cloned()
}

pub fn template(app: &str, image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": app}},
        "spec": {"containers": [{"name": "c", "image": image}]},
    })
}

pub fn deployment(name: &str, replicas: i32, image: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": template(name, image),
            "strategy": {"type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}},
        },
    })
}
