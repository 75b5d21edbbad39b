//! By hand, as root with Docker: runs the pods of the JSON files given as if they were assigned, prints statuses;
//! SIGINT ends the agent and leaves the pods, `--clean` takes everything away.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use kontiki_agent::events::Recorder;
use kontiki_agent::node::{ClusterSettings, Node};
use kontiki_agent::pods::{Pods, remove_everything};
use kontiki_agent::{images, machine, mirror::Mirror, outbox::Outbox};
use kontiki_base::clock::SystemClock;
use kontiki_base::task::{TaskKind, spawn};
use kontiki_network::NodeNetwork;
use kontiki_network::linux::{Linux, routes};
use kontiki_proto::node::AssignmentChange;
use kontiki_runtime::Runtime as _;
use kontiki_runtime::docker::{DEFAULT_SOCKET, Docker};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let clock = SystemClock::shared();
    let outbox = Arc::new(Outbox::default());
    let ip = routes::default_address().await?.ok_or("no address")?;
    let data_dir = PathBuf::from("/tmp/kontiki-try");
    let docker = Docker::new(DEFAULT_SOCKET);
    for version in ["v1", "v2"] {
        docker
            .load(kontiki_runtime::images::build_sample(version))
            .await?;
    }
    let node = Arc::new(Node {
        name: "try".into(),
        cluster_id: "try".into(),
        ip,
        capacity: machine::capacity(&data_dir),
        runtime: Arc::new(docker),
        network: Arc::new(Linux::new("try", "node", 1500)),
        clock: Arc::clone(&clock),
        random: Arc::new(kontiki_base::random::SystemRandom),
        data_dir,
        mirror: Mirror::default(),
        events: Recorder::new("try".into(), clock, Arc::clone(&outbox)),
        outbox: Arc::clone(&outbox),
        pulls: images::Pulls::default(),
        tokens: kontiki_agent::tokens::Tokens::default(),
        sampler: kontiki_agent::kubelet::Sampler::default(),
        settings: Default::default(),
        writes_files: true,
    });
    *node.settings.lock() = ClusterSettings::default();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|word| word == "--clean") {
        remove_everything(&node).await?;
        return Ok(node.network.cleanup().await?);
    }
    node.network
        .configure(NodeNetwork {
            pod_cidr: "10.244.9.0/24".parse()?,
            cluster_cidr: "10.244.0.0/16".parse()?,
            service_cidr: "10.96.0.0/16".parse()?,
            node_ip: ip,
            peers: Vec::new(),
        })
        .await?;
    let mut changes = Vec::new();
    for path in &arguments {
        let json: serde_json::Value = serde_json::from_slice(&std::fs::read(path)?)?;
        let text = |name: &str| json["metadata"][name].as_str().unwrap_or("").to_owned();
        let (namespace, name, uid) = (text("namespace"), text("name"), text("uid"));
        let kind = json["kind"].as_str().unwrap_or("Pod").to_lowercase();
        let resource = format!("{kind}s");
        let object_json = json.to_string().into();
        changes.push(AssignmentChange {
            resource,
            namespace,
            name,
            uid,
            revision: 1,
            object_json,
        });
    }
    let pods = Pods::new(Arc::clone(&node));
    drop(spawn(TaskKind::Agent, Arc::clone(&pods).watch_engine()));
    pods.assigned(node.mirror.apply(true, changes));
    pods.sweep().await?;
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    let mut n_batches = 0;
    loop {
        tokio::select! {
            () = outbox.ready() => {}
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
        tokio::time::sleep(std::time::Duration::from_millis(75)).await;
        while let Some(batch) = outbox.take() {
            n_batches += 1;
            outbox.committed(n_batches);
            for pod in batch.pods {
                let status: serde_json::Value = serde_json::from_slice(&pod.status_json)?;
                let line = format!(
                    "{} {} ip={} terminated={} {}",
                    pod.name,
                    status["phase"],
                    status["podIP"],
                    pod.terminated,
                    status["containerStatuses"][0]["state"],
                );
                if seen.insert(pod.uid, line.clone()).as_ref() != Some(&line) {
                    println!("{line}");
                }
            }
            for event in batch.events_json {
                let event: serde_json::Value = serde_json::from_slice(&event)?;
                println!(
                    "  {} {} {}",
                    event["type"], event["reason"], event["message"]
                );
            }
        }
    }
}
