//! Flow schemas and priority levels as they are stored, ready to be asked.

use std::sync::Arc;

use k8s_openapi::api::flowcontrol::v1::{
    FlowSchema, FlowSchemaSpec, PriorityLevelConfiguration, PriorityLevelConfigurationSpec,
};
use kontiki_api::flowcontrol::classify::{Schema, sort};
use kontiki_api::flowcontrol::priority_levels;
use kontiki_api::flowcontrol::{flow_schemas, mandatory_flow_schema, mandatory_priority_level};
use kontiki_api::request_info::RequestInfo;
use kontiki_base::metrics::{FAMILIES, Family, Histogram, Metric};
use kontiki_state::Snapshot;

use super::levels::{self, Levels, Limit};
use super::queues::Shape;
use super::{Belonging, Waiter};

pub(super) const SCHEMAS: &str = "flowschemas.flowcontrol.apiserver.k8s.io";
pub(super) const LEVELS: &str = "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io";

/// All schemas, in the order in which they are asked.
#[derive(Default)]
pub(super) struct Config {
    flows: Vec<Flow>,
    /// Kept, so that their numbers are.
    _levels: Vec<Arc<Metric>>,
}

/// A schema and its level.
pub(super) struct Flow {
    pub(super) schema: Schema,
    pub(super) belonging: Belonging,
    pub(super) level_idx: usize,
    pub(super) limit: Limit,
    pub(super) dispatched: Arc<Metric>,
    pub(super) executing: Arc<Metric>,
    pub(super) seats: Arc<Metric>,
    pub(super) inqueue: Arc<Metric>,
    /// Waits of those that were refused, and of those that were seated.
    pub(super) waits: [Arc<Histogram>; 2],
}

impl Flow {
    /// The number of its requests that were refused for a reason.
    pub(super) fn rejected(&self, reason: &str) -> Arc<Metric> {
        let labels = [&*self.schema.level, &*self.schema.name, reason];
        FAMILIES.flow_rejected.with(&labels)
    }
}

/// A level as it is stored.
struct Stored {
    name: String,
    uid: String,
    spec: PriorityLevelConfigurationSpec,
}

impl Config {
    /// Reads what is stored, and gives the levels their seats.
    pub(super) fn of(snapshot: &Snapshot, levels: &mut Levels<Waiter>) -> Self {
        let stored = stored_levels(snapshot);
        let configs: Vec<levels::Config> = stored.iter().map(config_of).collect();
        let limits: Vec<Limit> = configs.iter().map(|config| config.limit).collect();
        let indexes = levels.configure(configs);
        let mut schemas = schemas(snapshot);
        sort(&mut schemas);
        let flows = schemas.into_iter().filter_map(|schema| {
            // As upstream: a schema without its level is no schema.
            let at = stored.iter().position(|level| level.name == schema.level)?;
            Some(flow(schema, &stored[at], indexes[at], limits[at]))
        });
        let flows = flows.collect();
        let gauges = levels.iter().flat_map(|level| {
            let name = [&*level.config.name];
            let gauge = |family: &Family<Metric>, seats: u32| {
                let gauge = family.with(&name);
                gauge.set(u64::from(seats));
                gauge
            };
            [
                gauge(&FAMILIES.flow_nominal, level.nominal),
                gauge(&FAMILIES.flow_lower, level.lower),
                gauge(&FAMILIES.flow_upper, level.upper),
            ]
        });
        let gauges = gauges.collect();
        for family in [
            &FAMILIES.flow_nominal,
            &FAMILIES.flow_lower,
            &FAMILIES.flow_upper,
        ] {
            family.forget_unused();
        }
        Self {
            flows,
            _levels: gauges,
        }
    }

    /// Where a request belongs.
    pub(super) fn flow_of(&self, request: &RequestInfo<'_>) -> Option<&Flow> {
        let mut flows = self.flows.iter();
        let found = flows.find(|flow| flow.schema.matches(request));
        // The last is the catch-all, unless someone put others behind it.
        found.or_else(|| {
            self.flows
                .iter()
                .find(|flow| flow.schema.name == "catch-all")
        })
    }
}

fn flow(schema: Schema, level: &Stored, level_idx: usize, limit: Limit) -> Flow {
    let labels = [&*level.name, &*schema.name];
    Flow {
        belonging: Belonging {
            schema_uid: schema.uid.as_str().into(),
            level_uid: level.uid.as_str().into(),
        },
        level_idx,
        limit,
        dispatched: FAMILIES.flow_dispatched.with(&labels),
        executing: FAMILIES.flow_executing.with(&labels),
        seats: FAMILIES.flow_seats.with(&labels[..1]),
        inqueue: FAMILIES.flow_inqueue.with(&labels),
        waits: ["false", "true"]
            .map(|execute| FAMILIES.flow_wait.with(&[labels[0], labels[1], execute])),
        schema,
    }
}

/// Stored schemas; those that must be are known before they are stored.
fn schemas(snapshot: &Snapshot) -> Vec<Schema> {
    let objects = snapshot.list(SCHEMAS, None, None);
    let mut schemas: Vec<Schema> = objects
        .filter_map(|object| {
            let schema = readable(object.typed::<FlowSchema>())?;
            let spec = schema.spec.clone()?;
            Some(Schema::new(&object.key.name, &object.header.uid, spec))
        })
        .collect();
    for (name, _) in flow_schemas() {
        let is_known = schemas.iter().any(|schema| schema.name == name);
        if let Some(spec) = mandatory_flow_schema(name).filter(|_| !is_known)
            && let Some(spec) = readable(serde_json::from_value::<FlowSchemaSpec>(spec))
        {
            schemas.push(Schema::new(name, "", spec));
        }
    }
    schemas
}

fn stored_levels(snapshot: &Snapshot) -> Vec<Stored> {
    let objects = snapshot.list(LEVELS, None, None);
    let mut levels: Vec<Stored> = objects
        .filter_map(|object| {
            let level = readable(object.typed::<PriorityLevelConfiguration>())?;
            Some(Stored {
                name: object.key.name.to_string(),
                uid: object.header.uid.to_string(),
                spec: level.spec.clone()?,
            })
        })
        .collect();
    for (name, _) in priority_levels() {
        let is_known = levels.iter().any(|level| level.name == name);
        if let Some(spec) = mandatory_priority_level(name).filter(|_| !is_known)
            && let Some(spec) = readable(serde_json::from_value(spec))
        {
            levels.push(Stored {
                name: name.to_owned(),
                uid: String::new(),
                spec,
            });
        }
    }
    levels
}

fn readable<T>(read: Result<T, impl std::fmt::Display>) -> Option<T> {
    read.inspect_err(|error| tracing::warn!(%error, "flow control leaves an object out"))
        .ok()
}

fn config_of(level: &Stored) -> levels::Config {
    let name: Arc<str> = level.name.as_str().into();
    let positive = |number: Option<i32>| u32::try_from(number.unwrap_or_default()).unwrap_or(0);
    if level.spec.type_ == "Exempt" {
        let exempt = level.spec.exempt.clone().unwrap_or_default();
        return levels::Config {
            name,
            shares: positive(exempt.nominal_concurrency_shares),
            lendable_percent: positive(exempt.lendable_percent),
            borrowing_limit_percent: None,
            limit: Limit::Exempt,
        };
    }
    let limited = level.spec.limited.clone().unwrap_or_default();
    let response = limited.limit_response.unwrap_or_default();
    let limit = match response.queuing {
        Some(queuing) if response.type_ == "Queue" => Limit::Queue(Shape {
            n_queues: positive(Some(queuing.queues.unwrap_or(64))) as usize,
            hand_size: positive(Some(queuing.hand_size.unwrap_or(8))) as usize,
            max_length: positive(Some(queuing.queue_length_limit.unwrap_or(50))) as usize,
        }),
        _ => Limit::Reject,
    };
    levels::Config {
        name,
        shares: positive(Some(limited.nominal_concurrency_shares.unwrap_or(30))),
        lendable_percent: positive(limited.lendable_percent),
        borrowing_limit_percent: limited
            .borrowing_limit_percent
            .map(|percent| positive(Some(percent))),
        limit,
    }
}
