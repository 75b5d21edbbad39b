//! Counts what is used of each ResourceQuota: at first, when something is given back, and in turn now and then.
//!
//! What is new is charged by admission, in the same transaction; a count that was made before it loses its race there. A
//! charge is no reason to count: with many objects that costs more than the charge.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, Pod, ResourceQuota, ResourceQuotaStatus, Service,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use kontiki_api::podspec::totals::{Amounts, add, amounts};
use kontiki_api::quantity::Quantity;
use kontiki_api::quota::{self, Subject};
use kontiki_state::Object;

use crate::plan::Plan;
use crate::view::{Found, View};
use crate::{Controller, Error, Watch, WorkKey};

const QUOTAS: &str = "resourcequotas";
/// Each quota is counted again about this often (upstream's `--resource-quota-sync-period`), a few of them at a time.
const PERIOD: Duration = Duration::from_secs(300);
const TICK: Duration = Duration::from_secs(1);
/// Writes that were admitted before a quota took hold are committed by then.
const SETTLED: Duration = Duration::from_secs(15);
const _: () = assert!(SETTLED.as_secs() > kontiki_base::limits::PROPOSAL_TIMEOUT.as_secs());

/// The controller.
pub struct ResourceQuotaController;

impl Controller for ResourceQuotaController {
    fn name(&self) -> &'static str {
        "resourcequota-controller"
    }

    fn watches(&self) -> &'static [Watch] {
        &[
            Watch {
                resource: QUOTAS,
                map: unless_settled,
            },
            Watch {
                resource: "",
                map: concerned,
            },
        ]
    }

    fn initial(&self) -> Vec<WorkKey> {
        vec![WorkKey::all()]
    }

    fn reconcile(&self, view: &View<'_>, key: &WorkKey) -> Result<Plan, Error> {
        if *key == WorkKey::all() {
            return in_turn(view);
        }
        let mut plan = Plan::none();
        if let Some(quota) = view.get::<ResourceQuota>(&key.namespace, &key.name)?
            && recount(&mut plan, view, &quota)?
        {
            plan.requeue_after = Some(SETTLED);
        }
        Ok(plan)
    }
}

/// Counts the quotas whose turn it is: time says which, so that there is nothing to remember.
fn in_turn(view: &View<'_>) -> Result<Plan, Error> {
    let mut plan = Plan::none();
    let quotas = view.snapshot.count(QUOTAS);
    let n_ticks = (PERIOD.as_secs() / TICK.as_secs()) as usize;
    let at_once = quotas.div_ceil(n_ticks).max(1);
    let n_turns = quotas.div_ceil(at_once).max(1);
    let interval = PERIOD / u32::try_from(n_turns).unwrap_or(1);
    let turn = u128::from(view.now_ms) / interval.as_millis().max(1) % n_turns as u128;
    // Below n_turns, hence a usize.
    let skipped = turn as usize * at_once;
    let due = view.snapshot.list(QUOTAS, None, None).skip(skipped);
    for object in due.take(at_once) {
        recount(&mut plan, view, &crate::typed::<ResourceQuota>(object)?)?;
    }
    plan.requeue_after = Some(interval);
    Ok(plan)
}

/// Writes down what is used; tells whether what may be used is new.
fn recount(plan: &mut Plan, view: &View<'_>, quota: &Found<ResourceQuota>) -> Result<bool, Error> {
    if quota.object.header.deleting {
        return Ok(false);
    }
    let hard = quota.spec.as_ref().and_then(|spec| spec.hard.clone());
    let status = ResourceQuotaStatus {
        used: Some(texts(&count(view, quota)?)),
        hard: Some(hard.unwrap_or_default()),
    };
    let is_new = !is_settled(quota);
    if is_new || amounts(status.used.as_ref()) != quota::used(quota) {
        plan.set_status(&quota.object, &status);
    }
    Ok(is_new)
}

/// Whether the status says of all that the spec limits how much of it is used.
fn is_settled(quota: &ResourceQuota) -> bool {
    let wanted = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
    let (hard, used) = (quota::hard(quota), quota::used(quota));
    let is_known = quota.status.as_ref().is_some_and(|it| it.hard.is_some());
    is_known && amounts(wanted) == hard && hard.keys().eq(used.keys())
}

/// A quota that is yet to be counted. What cannot be read is left to the reconcile to complain of.
fn unless_settled(_: &View<'_>, object: &Object) -> Vec<WorkKey> {
    let settled = object
        .typed::<ResourceQuota>()
        .is_ok_and(|it| is_settled(&it));
    if settled {
        Vec::new()
    } else {
        vec![WorkKey::of(object)]
    }
}

/// Quotas that an object may have given something back to.
fn concerned(view: &View<'_>, object: &Object) -> Vec<WorkKey> {
    let (resource, namespace) = (&*object.key.resource, &*object.key.namespace);
    if namespace.is_empty() {
        return Vec::new();
    }
    let stored = view.snapshot.get(&object.key);
    let is_gone = stored.is_none_or(|stored| stored.header.uid != object.header.uid);
    let may_change = match resource {
        "pods" => has_ended(object),
        "services" | "persistentvolumeclaims" => true,
        _ => false,
    };
    if !is_gone && !may_change {
        return Vec::new();
    }
    let quotas = view.snapshot.list(QUOTAS, Some(namespace), None);
    quotas.map(|quota| WorkKey::of(&quota)).collect()
}

/// Told by the selectable fields, without decoding.
fn has_ended(pod: &Object) -> bool {
    let mut fields = pod.header.fields.iter();
    fields.any(|(field, value)| {
        &**field == "status.phase" && matches!(&**value, "Succeeded" | "Failed")
    })
}

/// What the objects of a quota's namespace use of what it limits.
fn count(view: &View<'_>, quota: &Found<ResourceQuota>) -> Result<Amounts, Error> {
    let hard = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
    let names = || hard.into_iter().flatten().map(|(name, _)| name.as_str());
    let namespace = Some(quota.namespace());
    let mut used: Amounts = names()
        .map(|name| (name.to_owned(), Quantity::default()))
        .collect();
    let mut count = |subject: &Subject<'_>| {
        if subject.is_in_scope(quota) {
            let mut usage = subject.usage(view.now_ms);
            usage.retain(|name, _| used.contains_key(name));
            add(&mut used, &usage);
        }
    };
    for resource in quota::counted(names()) {
        match resource.as_str() {
            "pods" => {
                for pod in view.list::<Pod>(namespace)? {
                    count(&Subject::Pod(&pod));
                }
            }
            "services" => {
                for service in view.list::<Service>(namespace)? {
                    count(&Subject::Service(&service));
                }
            }
            "persistentvolumeclaims" => {
                for claim in view.list::<PersistentVolumeClaim>(namespace)? {
                    count(&Subject::Claim(&claim));
                }
            }
            other => {
                for _ in view.snapshot.list(other, namespace, None) {
                    count(&Subject::Other(other));
                }
            }
        }
    }
    Ok(used)
}

fn texts(amounts: &Amounts) -> BTreeMap<String, Text> {
    let texts = amounts.iter();
    texts
        .map(|(name, amount)| (name.clone(), Text(amount.to_string())))
        .collect()
}

#[cfg(test)]
mod tests {
    use kontiki_state::{Command, Header, Key, Op, Precondition, Proposal, State};

    use super::*;
    use crate::Settings;

    fn create(resource: &str, name: &str, fields: &[(&str, &str)]) -> Op {
        let fields = fields
            .iter()
            .map(|(field, value)| ((*field).into(), (*value).into()));
        Op::Create {
            key: Key::new(resource, "default", name),
            header: Header {
                uid: name.into(),
                fields: fields.collect(),
                ..Header::default()
            },
            bytes: "{}".into(),
        }
    }

    #[test]
    fn only_what_may_give_something_back_is_counted_for() {
        let mut state = State::new();
        let mut index = 0;
        let mut apply = |state: &mut State, ops: Vec<Op>| {
            index += 1;
            let proposals = vec![Proposal::batch(ops)];
            state.apply(index, 1, &Command::Batch { proposals });
        };
        let objects = [
            create(QUOTAS, "q", &[]),
            create("pods", "runs", &[("status.phase", "Running")]),
            create("pods", "ended", &[("status.phase", "Failed")]),
            create("pods", "gone", &[("status.phase", "Running")]),
            create("services", "s", &[]),
            create("configmaps", "m", &[]),
        ];
        apply(&mut state, objects.to_vec());
        let gone = state.snapshot().find("pods", "default", "gone").unwrap();
        let delete = Op::Delete {
            key: gone.key.clone(),
            pre: Precondition::NONE,
        };
        apply(&mut state, vec![delete]);
        let snapshot = state.snapshot();
        let (settings, kinds) = (Settings::default(), kontiki_api::Kinds::built_in());
        let view = View {
            snapshot: &snapshot,
            now_ms: 0,
            heartbeats: &|_| None,
            leader_since_ms: 0,
            settings: &settings,
            kinds: &kinds,
        };
        let counts = |object: &Object| concerned(&view, object) == [WorkKey::new("default", "q")];
        let stored = |resource: &str, name: &str| snapshot.find(resource, "default", name).unwrap();
        assert!(!counts(&stored("pods", "runs")));
        assert!(counts(&stored("pods", "ended")));
        assert!(counts(&gone));
        assert!(counts(&stored("services", "s")));
        assert!(!counts(&stored("configmaps", "m")));
    }
}
