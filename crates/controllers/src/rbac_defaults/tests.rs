//! What a new leader makes of the default roles, from nothing and from what people changed.

use kontiki_api::Kinds;
use kontiki_state::{Command, Proposal, Store};

use super::*;
use crate::Write;
use crate::cluster_role_aggregation::ClusterRoleAggregation;
use crate::commit::{Stamp, commit};
use crate::view::Settings;

const ROLES: &str = "clusterroles.rbac.authorization.k8s.io";
const BINDINGS: &str = "clusterrolebindings.rbac.authorization.k8s.io";

struct World(Store);

impl World {
    fn reconcile(&self, key: &WorkKey) -> Plan {
        self.look(|view| RbacDefaults.reconcile(view, key))
    }

    fn look(&self, look: impl FnOnce(&View<'_>) -> Result<Plan, Error>) -> Plan {
        let snapshot = self.0.snapshot();
        let kinds = Kinds::built_in();
        let view = View {
            snapshot: &snapshot,
            now_ms: 0,
            heartbeats: &|_| None,
            leader_since_ms: 0,
            settings: &Settings::default(),
            kinds: &kinds,
        };
        look(&view).unwrap()
    }

    fn carry_out(&self, writes: Vec<Write>) {
        let snapshot = self.0.snapshot();
        let mut next = snapshot.revision();
        let mut stamp = Stamp {
            now_ms: 0,
            bits: &mut || {
                next += 1;
                next
            },
        };
        let ops = commit(&Kinds::built_in(), &snapshot, writes, "test", &mut stamp).ops;
        let proposals = vec![Proposal::batch(ops)];
        self.0
            .apply(snapshot.index() + 1, 1, &Command::Batch { proposals });
    }

    fn change(&self, resource: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let mut plan = Plan::none();
        let found = self.0.snapshot().find(resource, "", name).unwrap();
        plan.edit(&found, change);
        self.carry_out(plan.writes);
    }

    fn get(&self, resource: &str, name: &str) -> Value {
        self.0.snapshot().find(resource, "", name).unwrap().value()
    }
}

#[test]
fn all_are_made_once_and_lost_rights_come_back() {
    let world = World(Store::default());
    world.carry_out(world.reconcile(&WorkKey::all()).writes);
    assert_eq!(world.reconcile(&WorkKey::all()).writes, []);
    let admin = world.get(ROLES, "admin");
    let selector = &admin["aggregationRule"]["clusterRoleSelectors"][0]["matchLabels"];
    assert_eq!(
        selector["rbac.authorization.k8s.io/aggregate-to-admin"],
        "true"
    );
    assert_eq!(admin["metadata"]["annotations"][AUTOUPDATE], "true");

    let extra = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]});
    world.change(ROLES, "system:basic-user", |role| {
        role["rules"] = json!([extra])
    });
    world.change(ROLES, "system:discovery", |role| {
        role["rules"] = json!([extra]);
        role["metadata"]["annotations"][AUTOUPDATE] = "false".into();
    });
    world.change(BINDINGS, "system:discovery", |binding| {
        binding["subjects"] = json!([])
    });
    world.carry_out(world.reconcile(&WorkKey::all()).writes);
    let rules = world.get(ROLES, "system:basic-user")["rules"].clone();
    assert_eq!((&rules[0], rules.as_array().unwrap().len()), (&extra, 4));
    assert_eq!(
        world.get(ROLES, "system:discovery")["rules"],
        json!([extra])
    );
    let subjects = &world.get(BINDINGS, "system:discovery")["subjects"];
    assert_eq!(subjects[0]["name"], "system:authenticated");
}

#[test]
fn gatherers_gather_through_one_another() {
    let world = World(Store::default());
    world.carry_out(world.reconcile(&WorkKey::all()).writes);
    let gather = |name: &str| {
        let key = WorkKey::new("", name);
        let plan = world.look(|view| ClusterRoleAggregation.reconcile(view, &key));
        let n_writes = plan.writes.len();
        world.carry_out(plan.writes);
        n_writes
    };
    for (name, own) in [("view", 11), ("edit", 25), ("admin", 27)] {
        assert_eq!((gather(name), gather(name)), (1, 0), "{name}");
        let rules = world.get(ROLES, name)["rules"].clone();
        assert_eq!(rules.as_array().unwrap().len(), own, "{name}");
    }
    assert_eq!(gather("system:node"), 0);
}

#[test]
fn a_binding_of_another_role_makes_room() {
    let world = World(Store::default());
    world.carry_out(world.reconcile(&WorkKey::all()).writes);
    world.change(BINDINGS, "system:discovery", |binding| {
        binding["roleRef"]["name"] = "view".into();
    });
    let plan = world.reconcile(&WorkKey::all());
    assert!(plan.requeue_after.is_some());
    world.carry_out(plan.writes);
    world.carry_out(world.reconcile(&WorkKey::all()).writes);
    assert_eq!(
        world.get(BINDINGS, "system:discovery")["roleRef"]["name"],
        "system:discovery"
    );
}

#[test]
fn namespaces_get_theirs_when_they_are_there() {
    let world = World(Store::default());
    let key = WorkKey::new("", "kube-system");
    world.carry_out(world.reconcile(&key).writes);
    assert_eq!(world.0.snapshot().len(), 0);
    let mut plan = Plan::none();
    let namespace = json!({"metadata": {"name": "kube-system"}});
    plan.create_value("namespaces", namespace);
    world.carry_out(plan.writes);
    world.carry_out(world.reconcile(&key).writes);
    assert_eq!(
        world.0.snapshot().count("roles.rbac.authorization.k8s.io"),
        6
    );
    assert_eq!(world.reconcile(&key).writes, []);
}
