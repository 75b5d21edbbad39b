//! By hand, as root: connects the process given by pid as a pod. `try_network PID` or `try_network clean`.

use kontiki_network::linux::Linux;
use kontiki_network::{Endpoint, NodeNetwork, PodNetwork as _, PodPort, Protocol, Service};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let what = std::env::args().nth(1).unwrap_or_default();
    let network = Linux::new("try", "node", 1500);
    if what == "clean" {
        return Ok(network.cleanup().await?);
    }
    let node_ip = kontiki_network::linux::routes::default_address().await?;
    network
        .configure(NodeNetwork {
            pod_cidr: "10.244.9.0/24".parse()?,
            cluster_cidr: "10.244.0.0/16".parse()?,
            service_cidr: "10.96.0.0/16".parse()?,
            node_ip: node_ip.ok_or("no address")?,
            peers: Vec::new(),
        })
        .await?;
    let mut endpoints = Vec::new();
    for pid in std::env::args().skip(1) {
        let address = network.allocate(&pid)?;
        network
            .attach(&PodPort {
                pod_uid: pid.clone(),
                pid: pid.parse()?,
                address,
            })
            .await?;
        println!("{pid}: {address}");
        let (ready, serving, terminating, local) = (true, true, false, true);
        endpoints.push(Endpoint {
            ip: address,
            port: 8080,
            ready,
            serving,
            terminating,
            local,
        });
    }
    let mut service = Service {
        id: "default/web:".into(),
        cluster_ip: "10.96.0.50".parse()?,
        protocol: Protocol::Tcp,
        port: 80,
        node_port: Some(30080),
        ingress_ips: Vec::new(),
        affinity: None,
        internal_local: false,
        external_local: false,
        endpoints,
    };
    network.apply_services(vec![service.clone()]).await?;
    let empty = Service {
        id: "default/empty:".into(),
        cluster_ip: "10.96.0.51".parse()?,
        endpoints: Vec::new(),
        node_port: Some(30081),
        ..service.clone()
    };
    service.affinity = None;
    network.apply_services(vec![service, empty]).await?;
    Ok(())
}
