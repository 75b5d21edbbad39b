//! `grpc.health.v1`: the services serve while somebody leads; `Watch` tells when that changes.

use kontiki_base::task::{TaskKind, spawn};
use kontiki_consensus::Consensus;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::{HealthReporter, health_reporter};

/// Services that need a leader; the empty name stands for the whole server.
const SERVICES: [&str; 3] = [
    "",
    "kontiki.api.v1.ObjectService",
    "kontiki.cluster.v1.ClusterService",
];

/// The service; its answers follow the leadership.
pub fn service(consensus: &Consensus) -> HealthServer<impl Health> {
    let (reporter, service) = health_reporter();
    let mut leadership = consensus.leadership();
    spawn(TaskKind::Housekeeping, async move {
        loop {
            let is_led = leadership.borrow_and_update().leader.is_some();
            report(&reporter, is_led).await;
            if leadership.changed().await.is_err() {
                return report(&reporter, false).await;
            }
        }
    });
    service
}

async fn report(reporter: &HealthReporter, serves: bool) {
    let status = if serves {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    };
    for service in SERVICES {
        reporter.set_service_status(service, status).await;
    }
}
