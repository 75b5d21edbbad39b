//! What a cluster takes while nobody asks anything of it: resident memory and processor time of each of its processes.
//!
//! Works on a cluster of `kontiki up`, as it stands: what runs on it belongs to the figure.

use std::time::Duration;

use anyhow::{Context, Result};
use futures::FutureExt as _;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{Bench, CONNECTIONS, Load, Report, usage};
use crate::local::layout::Layout;
use crate::output;

/// The measurement. Its count is the seconds that it watches.
pub const BENCH: Bench = Bench {
    name: "idle",
    default_count: 30,
    default_connections: CONNECTIONS,
    run: |load| {
        async move {
            let figures = watch(load).await?;
            Ok(Box::new(figures) as Box<dyn Report>)
        }
        .boxed()
    },
};

/// One process over the whole time.
#[derive(Debug)]
struct Process {
    name: String,
    resident_bytes: u64,
    cpu_percent: f64,
}

#[derive(Debug)]
struct Idle {
    watched: Duration,
    processes: Vec<Process>,
}

async fn watch(load: Load) -> Result<Idle> {
    let local: Option<Layout> = load.local;
    let local = local
        .context("idle looks at the processes of a cluster of `kontiki up`: name its --data-dir")?;
    let (before, began) = (usage::cpu(Some(&local)), Instant::now());
    sleep(Duration::from_secs(load.count as u64)).await;
    let (after, watched) = (usage::cpu(Some(&local)), began.elapsed());
    let used = usage::between(&before, &after);
    let processes = usage::resident(&local).into_iter().map(|(name, bytes)| {
        let used = used.iter().find(|(other, _)| *other == name);
        let used = used.map_or(Duration::ZERO, |(_, used)| *used);
        Process {
            name,
            resident_bytes: bytes,
            cpu_percent: 100.0 * used.as_secs_f64() / watched.as_secs_f64(),
        }
    });
    Ok(Idle {
        watched,
        processes: processes.collect(),
    })
}

impl Idle {
    fn cpu_percent(&self) -> f64 {
        self.processes.iter().map(|it| it.cpu_percent).sum()
    }
}

impl Report for Idle {
    fn to_json(&self) -> Value {
        let processes = self.processes.iter().map(|it| {
            json!({
                "name": it.name, "residentBytes": it.resident_bytes, "cpuPercent": it.cpu_percent,
            })
        });
        json!({
            "bench": BENCH.name,
            "watchedSeconds": self.watched.as_secs_f64(),
            "processes": processes.collect::<Vec<_>>(),
            "cpuPercent": self.cpu_percent(),
        })
    }

    fn print(&self) {
        let row = |it: &Process| {
            let mb = it.resident_bytes as f64 / 1e6;
            vec![
                it.name.clone(),
                format!("{mb:.1}"),
                format!("{:.2}", it.cpu_percent),
            ]
        };
        let rows: Vec<_> = self.processes.iter().map(row).collect();
        output::table(&["PROCESS", "RESIDENT MB", "CPU %"], &rows);
        println!(
            "\nall over {:.0} s: {:.2}% of one core",
            self.watched.as_secs_f64(),
            self.cpu_percent()
        );
    }
}
