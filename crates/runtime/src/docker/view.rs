//! From Docker's answers to our types.

use bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum, ContainerStatsResponse, EventMessage,
    ImageInspect, SystemInfo,
};

use crate::labels;
use crate::types::{Container, Event, EventKind, Image, Info, Run, Stats};

/// An inspected container.
pub fn container(found: ContainerInspectResponse) -> Container {
    let state = found.state.unwrap_or_default();
    let config = found.config.unwrap_or_default();
    let started_ms = unix_ms(state.started_at.as_deref());
    let error = state.error.unwrap_or_default();
    let run = match state.status {
        Some(
            ContainerStateStatusEnum::RUNNING
            | ContainerStateStatusEnum::PAUSED
            | ContainerStateStatusEnum::RESTARTING,
        ) => Run::Running { started_ms },
        // A failed start leaves a container "created", with an error.
        Some(ContainerStateStatusEnum::CREATED) if error.is_empty() => Run::Created,
        _ => Run::Exited {
            code: state.exit_code.unwrap_or(-1) as i32,
            oom: state.oom_killed.unwrap_or(false),
            started_ms,
            finished_ms: unix_ms(state.finished_at.as_deref()),
            error,
        },
    };
    Container {
        id: found.id.unwrap_or_default(),
        name: found
            .name
            .unwrap_or_default()
            .trim_start_matches('/')
            .to_owned(),
        labels: config.labels.unwrap_or_default().into_iter().collect(),
        run,
        pid: state.pid.unwrap_or(0).max(0) as u32,
        image: config.image.unwrap_or_default(),
        image_id: found.image.unwrap_or_default(),
        stop_signal: config
            .stop_signal
            .filter(|signal| !signal.is_empty())
            .unwrap_or_else(|| "SIGTERM".into()),
        created_ms: unix_ms(found.created.as_deref()),
    }
}

/// An inspected image.
pub fn image(found: ImageInspect) -> Image {
    Image {
        id: found.id.unwrap_or_default(),
        digests: found.repo_digests.unwrap_or_default(),
        user: found
            .config
            .and_then(|config| config.user)
            .unwrap_or_default(),
        size_bytes: found.size.unwrap_or(0).max(0) as u64,
    }
}

/// The engine.
pub fn info(found: SystemInfo) -> Info {
    Info {
        version: format!("docker://{}", found.server_version.unwrap_or_default()),
        cgroup_driver: found
            .cgroup_driver
            .map(|driver| driver.to_string())
            .unwrap_or_default(),
        os_image: found.operating_system.unwrap_or_default(),
        kernel_version: found.kernel_version.unwrap_or_default(),
        root_dir: found.docker_root_dir.unwrap_or_default(),
    }
}

/// An event of a container of ours.
pub fn event(message: EventMessage) -> Option<Event> {
    let kind = match message.action.as_deref()? {
        "start" => EventKind::Started,
        "die" => EventKind::Died,
        "destroy" => EventKind::Removed,
        _ => return None,
    };
    let actor = message.actor?;
    let pod_uid = actor.attributes?.remove(labels::POD_UID)?;
    Some(Event {
        id: actor.id?,
        pod_uid,
        kind,
    })
}

/// Docker's zero time (year 1) and garbage are 0.
fn unix_ms(text: Option<&str>) -> u64 {
    let parsed = text.and_then(|text| chrono::DateTime::parse_from_rfc3339(text).ok());
    parsed.map_or(0, |time| time.timestamp_millis().max(0) as u64)
}

/// What a container uses, by either version of control groups.
pub fn stats(answer: &ContainerStatsResponse) -> Stats {
    let cpu = answer
        .cpu_stats
        .as_ref()
        .and_then(|cpu| cpu.cpu_usage.as_ref());
    let memory = answer.memory_stats.as_ref();
    let memory_bytes = memory.and_then(|memory| memory.usage).unwrap_or(0);
    let counter = |name: &str| memory.and_then(|memory| memory.stats.as_ref()?.get(name).copied());
    let inactive = counter("inactive_file").or_else(|| counter("total_inactive_file"));
    Stats {
        cpu_ns: cpu.and_then(|cpu| cpu.total_usage).unwrap_or(0),
        memory_bytes,
        working_set_bytes: memory_bytes.saturating_sub(inactive.unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_times_become_unix_milliseconds() {
        assert_eq!(
            unix_ms(Some("2026-11-22T17:12:47.847664457Z")),
            1_795_367_567_847
        );
        assert_eq!(unix_ms(Some("0001-01-01T00:00:00Z")), 0);
    }
}
