//! Linearizable reads of one pod through REST.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;

use super::create_pods::pod;
use super::load::{self, json_bytes};
use super::{Bench, CONNECTIONS};

/// The measurement.
pub const BENCH: Bench = Bench {
    name: "get-pods",
    default_count: 20_000,
    default_connections: CONNECTIONS,
    run: |load| {
        async move {
            load::make_namespace(&load).await?;
            let pods = format!("/api/v1/namespaces/{}/pods", load.namespace);
            let mut connection = load.client.connect().await?;
            let made = connection.send("POST", &pods, json_bytes(&pod(0))).await?;
            // A pod that an earlier run left serves as well.
            if made.code != 409 {
                made.json()?;
            }
            let path = format!("{pods}/bench-0");
            let request = move |_: usize| ("GET", path.clone(), Bytes::new());
            let report = load::run(BENCH.name, &load, Arc::new(request)).await;
            load::remove_namespace(&load).await?;
            report
        }
        .boxed()
    },
};
