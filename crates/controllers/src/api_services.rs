//! The APIServices of what this server serves itself: one for each version of a group, always available.
//!
//! As upstream's registration at the start: what is missing comes back, and those made here go when their version is no
//! longer served. APIServices of others are let be; whether they are available is found out by those that call them.

use std::collections::BTreeSet;

use kontiki_api::Kinds;
use kontiki_api::discovery::group_versions;
use kontiki_api::kinds::api_service::{RESOURCE, available};
use kontiki_api::meta::Meta;
use kontiki_state::Object;
use serde_json::{Value, json};

use crate::plan::Plan;
use crate::view::View;
use crate::{Controller, Error, Watch, WorkKey, everything};

/// Says that an APIService was made here, and from when on it is.
const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";
/// It is there from the start of the server.
const ON_START: &str = "onstart";

/// The controller.
pub struct ApiServices;

impl Controller for ApiServices {
    fn name(&self) -> &'static str {
        "autoregister-controller"
    }

    fn watches(&self) -> &'static [Watch] {
        &[Watch {
            resource: RESOURCE,
            map: everything,
        }]
    }

    fn initial(&self) -> Vec<WorkKey> {
        vec![WorkKey::all()]
    }

    fn reconcile(&self, view: &View<'_>, _: &WorkKey) -> Result<Plan, Error> {
        let mut plan = Plan::none();
        let mut served = BTreeSet::new();
        // Those that users define are not there from the start.
        let kinds = Kinds::built_in();
        let versions = group_versions(&kinds);
        for (i, (group, version)) in versions.iter().enumerate() {
            let name = format!("{version}.{group}");
            match view.snapshot.find(RESOURCE, "", &name) {
                None => {
                    plan.create_value(RESOURCE, local(&name, group, version, i, versions.len()))
                }
                Some(found) => mark(view, &mut plan, &found),
            }
            served.insert(name);
        }
        for object in view.snapshot.list(RESOURCE, None, None) {
            let is_ours = object
                .header
                .labels
                .iter()
                .any(|(key, value)| **key == *MANAGED && **value == *ON_START);
            if is_ours && !served.contains(&*object.key.name) {
                plan.delete(&object);
            }
        }
        Ok(plan)
    }
}

/// The earlier a group stands in discovery, the higher is its priority; the same of its versions.
fn local(name: &str, group: &str, version: &str, place: usize, n_places: usize) -> Value {
    let priority = if group.is_empty() {
        18_000
    } else {
        16_700 + (n_places - place) as i64
    };
    json!({
        "metadata": {"name": name, "labels": {MANAGED: ON_START}},
        "spec": {
            "group": group,
            "version": version,
            "groupPriorityMinimum": priority,
            "versionPriority": (n_places - place) as i64,
        },
    })
}

fn mark(view: &View<'_>, plan: &mut Plan, object: &Object) {
    let value = object.value();
    let is_local = value["spec"]["service"].is_null();
    let is_told = available(&value).is_some_and(|found| found["reason"] == "Local");
    if !is_local || is_told || Meta::of(&value).is_deleting() {
        return;
    }
    let condition = json!({
        "type": "Available",
        "status": "True",
        "reason": "Local",
        "message": "Local APIServices are always available",
        "lastTransitionTime": kontiki_api::time::rfc3339(view.now_ms),
    });
    plan.edit_status(object, |value| {
        value["status"]["conditions"] = json!([condition])
    });
}

#[cfg(test)]
mod tests {
    use kontiki_state::{Command, Proposal, Snapshot, Store};

    use super::*;
    use crate::commit::{Stamp, commit};
    use crate::view::Settings;

    fn reconcile(snapshot: &Snapshot) -> Plan {
        let kinds = Kinds::built_in();
        let view = View {
            snapshot,
            kinds: &kinds,
            now_ms: 0,
            heartbeats: &|_| None,
            leader_since_ms: 0,
            settings: &Settings::default(),
        };
        ApiServices.reconcile(&view, &WorkKey::all()).unwrap()
    }

    fn carry_out(store: &Store, plan: Plan) {
        let snapshot = store.snapshot();
        let mut next = snapshot.revision();
        let mut stamp = Stamp {
            now_ms: 0,
            bits: &mut || {
                next += 1;
                next
            },
        };
        let ops = commit(
            &Kinds::built_in(),
            &snapshot,
            plan.writes,
            "test",
            &mut stamp,
        )
        .ops;
        let proposals = vec![Proposal::batch(ops)];
        store.apply(snapshot.index() + 1, 1, &Command::Batch { proposals });
    }

    #[test]
    fn every_served_version_has_one_that_is_available() {
        let store = Store::default();
        for _ in 0..2 {
            carry_out(&store, reconcile(&store.snapshot()));
        }
        let snapshot = store.snapshot();
        assert_eq!(reconcile(&snapshot).writes, []);
        assert_eq!(
            snapshot.count(RESOURCE),
            group_versions(&Kinds::built_in()).len()
        );
        let apps = snapshot.find(RESOURCE, "", "v1.apps").unwrap().value();
        assert_eq!(apps["metadata"]["labels"][MANAGED], ON_START);
        let condition = available(&apps).unwrap();
        assert_eq!(
            (&condition["status"], &condition["reason"]),
            (&json!("True"), &json!("Local"))
        );
        let kind = &kontiki_api::kinds::api_service::KIND;
        for object in snapshot.list(RESOURCE, None, None) {
            assert_eq!(kind.validate(&object.value(), None), [], "{}", object.key);
        }
    }

    #[test]
    fn what_is_no_longer_served_goes_and_what_is_others_stays() {
        let store = Store::default();
        let mut plan = Plan::none();
        for (name, label) in [
            ("v0.gone.example.com", ON_START),
            ("v1.theirs.example.com", "true"),
        ] {
            let mut made = local(name, "example.com", "v1", 0, 1);
            made["metadata"]["labels"][MANAGED] = label.into();
            plan.create_value(RESOURCE, made);
        }
        carry_out(&store, plan);
        carry_out(&store, reconcile(&store.snapshot()));
        let snapshot = store.snapshot();
        assert!(snapshot.find(RESOURCE, "", "v0.gone.example.com").is_none());
        assert!(
            snapshot
                .find(RESOURCE, "", "v1.theirs.example.com")
                .is_some()
        );
    }
}
