//! Events live for an hour after they were last seen.

use k8s_openapi::api::core::v1::Event;

use crate::plan::{Plan, Propagation};
use crate::view::{View, ms_of};
use crate::{Controller, Error, Watch, WorkKey};

/// `--event-ttl`.
const TTL_MS: u64 = 3_600_000;
/// Events removed in one step.
const BURST: usize = 1000;
/// Shortest and longest pause between two looks.
const PAUSE_MS: (u64, u64) = (60_000, 600_000);

/// The controller. It watches nothing: no event can be overdue earlier than it looks again.
pub struct EventTtl;

impl Controller for EventTtl {
    fn name(&self) -> &'static str {
        "event-ttl-controller"
    }

    fn watches(&self) -> &'static [Watch] {
        &[]
    }

    fn initial(&self) -> Vec<WorkKey> {
        vec![WorkKey::all()]
    }

    fn reconcile(&self, view: &View<'_>, _: &WorkKey) -> Result<Plan, Error> {
        let mut plan = Plan::none();
        let mut next = u64::MAX;
        for event in view.list::<Event>(None)? {
            let due = last_seen_ms(&event) + TTL_MS;
            if due > view.now_ms {
                next = next.min(due - view.now_ms);
            } else if plan.writes.len() < BURST {
                plan.delete_with(&event.object, Some(0), Propagation::Background);
            } else {
                next = 0;
            }
        }
        plan.requeue_after_ms(next.clamp(PAUSE_MS.0, PAUSE_MS.1));
        Ok(plan)
    }
}

fn last_seen_ms(event: &Event) -> u64 {
    let micro = |time: &k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime| {
        u64::try_from(time.0.as_millisecond()).unwrap_or(0)
    };
    let series = event
        .series
        .as_ref()
        .and_then(|series| series.last_observed_time.as_ref());
    let created = event.metadata.creation_timestamp.as_ref().map(ms_of);
    [
        series.map(micro),
        event.last_timestamp.as_ref().map(ms_of),
        event.event_time.as_ref().map(micro),
        created,
    ]
    .into_iter()
    .flatten()
    .max()
    .unwrap_or(0)
}
