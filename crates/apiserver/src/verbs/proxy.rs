//! The proxy subresources: which pod, service endpoint or node a request is passed on to, and the connection with it.
//!
//! Pods are reached through their node's agent, since a replica may have no route to them; what is no pod is reached by the
//! replica's own routes, but never on the replica's own machine.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use kontiki_base::limits::OUTBOUND_CONNECT_TIMEOUT;
use kontiki_base::status::{Reason, Status};
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio_rustls::TlsConnector;

use super::connect::{OnNode, node_of};
use crate::options::{Context, Target};
use crate::outbound::{Address, Io, endpoints, is_refused, tls_to_anyone};
use crate::server::ApiServer;
use crate::tunnel::{NodeRequest, PodPort, TunnelIo};

/// Where upstream's kubelets listen: ours does not, but clients name the port.
const KUBELET_PORT: u16 = 10250;

/// What a request is passed on to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyTo {
    /// The way to it.
    pub way: ProxyWay,
    /// Whether it speaks TLS; its certificate is not checked, as upstream.
    pub is_tls: bool,
}

/// The way to what a request is passed on to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProxyWay {
    /// Through an agent.
    Node(OnNode),
    /// By the replica's own routes.
    Direct(SocketAddr),
}

/// `[scheme:]name[:port]`, as upstream's `SplitSchemeNamePort` reads it.
struct Named<'a> {
    is_tls: bool,
    name: &'a str,
    port: &'a str,
}

fn named(text: &str) -> Option<Named<'_>> {
    let parts: Vec<&str> = text.split(':').collect();
    let (scheme, name, port) = match parts.as_slice() {
        [name] => ("", *name, ""),
        [name, port] => ("", *name, *port),
        [scheme, name, port] => (*scheme, *name, *port),
        _ => return None,
    };
    let is_tls = match scheme {
        "https" => true,
        "http" | "" => false,
        _ => return None,
    };
    (!name.is_empty()).then_some(Named { is_tls, name, port })
}

fn number(port: &str) -> Option<u16> {
    port.parse().ok().filter(|port| *port > 0)
}

fn unavailable(why: String) -> Status {
    Status::new(Reason::ServiceUnavailable, why)
}

impl ApiServer {
    /// What a request is passed on to; `verb` is that of its method.
    pub async fn proxy_to(
        &self,
        context: &Context,
        target: &Target,
        verb: &str,
        path: &str,
    ) -> Result<ProxyTo, Status> {
        self.authorize(context, verb, target).await?;
        let kind = target.kind.plural();
        let mut options = json!({
            "apiVersion": "v1",
            "kind": format!("{}ProxyOptions", target.kind.kind()),
            "path": path,
        });
        self.admit_connect(context, target, &mut options).await?;
        let what = kind.strip_suffix('s').unwrap_or(kind);
        let invalid = || Status::bad_request(format!("invalid {what} request {:?}", target.name));
        let named = named(&target.name).ok_or_else(invalid)?;
        let object = Target {
            name: named.name.to_owned(),
            ..target.clone()
        };
        let found = self.current(context, &object).await?;
        let way = match kind {
            "pods" => {
                let port = pod_port(&named, &found.value()).ok_or_else(invalid)?;
                check_pod(&found.value())?;
                let request = NodeRequest::DialPod(PodPort {
                    pod_uid: found.header.uid.to_string(),
                    port,
                });
                let node = node_of(&found)?;
                ProxyWay::Node(OnNode { node, request })
            }
            "services" => self.endpoint(&object, &found.value(), &named)?,
            _ => match named.port {
                "" => ProxyWay::Node(OnNode {
                    node: object.name,
                    request: NodeRequest::Http,
                }),
                port => {
                    let port = number(port).ok_or_else(invalid)?;
                    node_port(&object.name, &found.value(), port)?
                }
            },
        };
        // An agent's own answers come over its tunnel, which is encrypted already.
        let is_agent = matches!(&way, ProxyWay::Node(to) if to.request == NodeRequest::Http);
        Ok(ProxyTo {
            way,
            is_tls: named.is_tls && !is_agent,
        })
    }

    /// A ready endpoint of a service.
    fn endpoint(
        &self,
        target: &Target,
        service: &Value,
        named: &Named<'_>,
    ) -> Result<ProxyWay, Status> {
        let name = &target.name;
        let port_name = match number(named.port) {
            None => named.port.to_owned(),
            Some(number) => {
                let mut ports = service["spec"]["ports"].as_array().into_iter().flatten();
                let known = ports.find(|known| known["port"].as_u64() == Some(number.into()));
                let known = known.ok_or_else(|| {
                    unavailable(format!(
                        "no service port {number} found for service {name:?}"
                    ))
                })?;
                known["name"].as_str().unwrap_or_default().to_owned()
            }
        };
        let mut ready = endpoints(
            &self.store().snapshot(),
            &target.namespace,
            name,
            &port_name,
        );
        if ready.is_empty() {
            return Err(unavailable(format!(
                "no endpoints available for service {name:?}"
            )));
        }
        let chosen = self.options().random.below(ready.len() as u64) as usize;
        let Address {
            ip,
            port,
            node,
            pod_uid,
        } = ready.swap_remove(chosen);
        check(ip)?;
        Ok(match (node, pod_uid) {
            (Some(node), Some(pod_uid)) => ProxyWay::Node(OnNode {
                node: node.to_string(),
                request: NodeRequest::DialPod(PodPort {
                    pod_uid: pod_uid.to_string(),
                    port,
                }),
            }),
            _ => ProxyWay::Direct(SocketAddr::new(ip, port)),
        })
    }

    /// Connects with what was found; the user has been authorized for it.
    pub async fn dial_proxy(&self, to: &ProxyTo) -> Result<Box<dyn Io>, Status> {
        let failed = |why: String| unavailable(format!("error trying to reach service: {why}"));
        let stream: Box<dyn Io> = match &to.way {
            ProxyWay::Node(on_node) => {
                let opened = self.connect_node(on_node.clone()).await;
                Box::new(TunnelIo::from(
                    opened.map_err(|status| failed(status.message))?,
                ))
            }
            ProxyWay::Direct(address) => {
                let address = Address {
                    ip: address.ip(),
                    port: address.port(),
                    node: None,
                    pod_uid: None,
                };
                let dialing = self.options().outbound.dialer.dial(&address);
                let dialed = tokio::time::timeout(OUTBOUND_CONNECT_TIMEOUT, dialing).await;
                let dialed = dialed.map_err(|_| failed("i/o timeout".into()))?;
                dialed.map_err(|why| {
                    let (ip, port) = (address.ip, address.port);
                    failed(format!("dial tcp {ip}:{port}: connect: {why}"))
                })?
            }
        };
        if !to.is_tls {
            return Ok(stream);
        }
        let config = tls_to_anyone().map_err(|why| failed(why.to_string()))?;
        // No certificate is looked at, so that any name will do.
        let name = ServerName::IpAddress(IpAddr::from([0, 0, 0, 0]).into());
        let opening = TlsConnector::from(Arc::new(config)).connect(name, stream);
        let opened = tokio::time::timeout(OUTBOUND_CONNECT_TIMEOUT, opening).await;
        let opened = opened.map_err(|_| failed("tls: i/o timeout".into()))?;
        Ok(Box::new(
            opened.map_err(|why| failed(format!("tls: {why}")))?,
        ))
    }
}

/// The port that is named, or the first that a container names, or that of the scheme.
fn pod_port(named: &Named<'_>, pod: &Value) -> Option<u16> {
    if !named.port.is_empty() {
        return number(named.port);
    }
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let mut ports =
        containers.filter_map(|container| container["ports"][0]["containerPort"].as_u64());
    match ports.next() {
        Some(port) => u16::try_from(port).ok(),
        None if named.is_tls => Some(443),
        None => Some(80),
    }
}

/// Refuses a pod without an address, and one whose status names an address that only a machine itself reaches.
fn check_pod(pod: &Value) -> Result<(), Status> {
    let address = pod["status"]["podIP"].as_str().unwrap_or_default();
    let address = address.parse();
    check(address.map_err(|_| Status::bad_request("address not allowed"))?)
}

fn check(address: IpAddr) -> Result<(), Status> {
    if is_refused(address) {
        return Err(Status::bad_request("address not allowed"));
    }
    Ok(())
}

/// A port of a node's machine: the kubelet's is the agent, any other is dialed.
fn node_port(name: &str, node: &Value, port: u16) -> Result<ProxyWay, Status> {
    if port == KUBELET_PORT {
        return Ok(ProxyWay::Node(OnNode {
            node: name.to_owned(),
            request: NodeRequest::Http,
        }));
    }
    let addresses = node["status"]["addresses"].as_array().into_iter().flatten();
    let internal = addresses
        .filter(|address| address["type"] == "InternalIP")
        .find_map(|address| address["address"].as_str()?.parse::<IpAddr>().ok());
    let Some(internal) = internal else {
        let why = format!("no preferred addresses found for node {name:?}");
        return Err(unavailable(why));
    };
    check(internal)?;
    Ok(ProxyWay::Direct(SocketAddr::new(internal, port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_have_a_scheme_and_a_port() {
        let read = |text| named(text).map(|it| (it.is_tls, it.name, it.port));
        assert_eq!(read("web"), Some((false, "web", "")));
        assert_eq!(read("web:80"), Some((false, "web", "80")));
        assert_eq!(read("https:web:metrics"), Some((true, "web", "metrics")));
        assert_eq!(read("https:web:"), Some((true, "web", "")));
        assert_eq!(read("http:web:80"), Some((false, "web", "80")));
        for bad in ["", ":80", "ftp:web:80", "a:b:c:d", "https::80"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_pods_port_is_the_one_named_or_its_first() {
        let pod = json!({"spec": {"containers": [{}, {"ports": [{"containerPort": 8080}]}]}});
        let port = |text, pod: &Value| pod_port(&named(text).unwrap(), pod);
        assert_eq!(port("web", &pod), Some(8080));
        assert_eq!(port("web:81", &pod), Some(81));
        assert_eq!(port("web", &json!({})), Some(80));
        assert_eq!(port("https:web:", &json!({})), Some(443));
        assert_eq!(port("web:http", &pod), None);
        assert_eq!(port("web:65536", &pod), None);
    }

    #[test]
    fn what_only_a_machine_itself_reaches_is_refused() {
        let node =
            |ip: &str| json!({"status": {"addresses": [{"type": "InternalIP", "address": ip}]}});
        assert!(node_port("n", &node("127.0.0.1"), 22).is_err());
        assert!(node_port("n", &node("169.254.169.254"), 80).is_err());
        assert!(node_port("n", &json!({}), 80).is_err());
        let way = node_port("n", &node("10.0.0.7"), 9100).unwrap();
        assert_eq!(way, ProxyWay::Direct("10.0.0.7:9100".parse().unwrap()));
        assert!(matches!(
            node_port("n", &node("10.0.0.7"), 10250),
            Ok(ProxyWay::Node(_))
        ));
        assert!(check_pod(&json!({"status": {"podIP": "127.0.0.1"}})).is_err());
        assert!(check_pod(&json!({"status": {}})).is_err());
    }
}
