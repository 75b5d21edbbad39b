//! The rules of a node: a fixed frame, and for each service chains and map elements.
//!
//! A packet finds its service by one lookup in a verdict map, however many services there are. A service's chain
//! picks an endpoint at random; with client affinity each endpoint has a chain of its own that remembers its clients
//! in a set. Services without endpoints are refused in the filter hooks, after every other table had its chance to
//! translate: two agents on one machine share the hooks.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::{Endpoint, Service};
use crate::{Cidr, short_hash};

/// Bit of the packet mark that asks for masquerading.
const MARK: &str = "0x00200000";
const MARK_INVERSE: &str = "0xffdfffff";
/// Clients remembered per endpoint with affinity.
const AFFINITY_CLIENTS: u32 = 65_536;

/// What the frame needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Table name.
    pub table: String,
    /// The node's bridge.
    pub bridge: String,
    /// Addresses of this node's pods.
    pub pod_cidr: Cidr,
    /// Addresses of all pods.
    pub cluster_cidr: Cidr,
}

/// Chains, sets and elements that come and go with services.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Chain name to rules.
    pub chains: BTreeMap<String, Vec<String>>,
    /// Affinity set name to its declaration.
    pub sets: BTreeMap<String, String>,
    /// (map or set name, key) to verdict; empty for members of a set.
    pub elements: BTreeMap<(&'static str, String), String>,
}

impl Frame {
    /// The part that never changes: sets, maps and the hooks' chains.
    pub fn text(&self) -> String {
        let Frame {
            table,
            bridge,
            pod_cidr,
            cluster_cidr,
        } = self;
        format!(
            "table ip {table} {{
  set hairpin {{ type ipv4_addr . ipv4_addr; }}
  map services {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
  map node_ports {{ type inet_proto . inet_service : verdict; }}
  map refused {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
  map refused_node_ports {{ type inet_proto . inet_service : verdict; }}
  chain refuse {{
    meta l4proto tcp reject with tcp reset
    reject
  }}
  chain dispatch {{
    ip daddr . meta l4proto . th dport vmap @services
    ip daddr != 127.0.0.0/8 fib daddr type local meta l4proto . th dport vmap @node_ports
  }}
  chain refusals {{
    ip daddr . meta l4proto . th dport vmap @refused
    fib daddr type local meta l4proto . th dport vmap @refused_node_ports
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    iifname \"ktk*\" iifname != \"{bridge}\" return
    jump dispatch
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    jump dispatch
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    meta mark & {MARK} != 0 meta mark set meta mark & {MARK_INVERSE} masquerade
    ip saddr . ip daddr @hairpin masquerade
    ip saddr {pod_cidr} ip daddr != {cluster_cidr} oifname != \"ktk*\" masquerade
  }}
  chain filter_forward {{
    type filter hook forward priority filter; policy accept;
    iifname \"ktk*\" iifname != \"{bridge}\" return
    ct state new jump refusals
  }}
  chain filter_input {{
    type filter hook input priority filter; policy accept;
    ct state new jump refusals
  }}
  chain filter_output {{
    type filter hook output priority filter; policy accept;
    ct state new jump refusals
  }}
}}
"
        )
    }

    /// The rules for these services; `local_pods` are the pods of this node, for those that call themselves
    /// through a service.
    pub fn rules(&self, services: &[Service]) -> Rules {
        let mut rules = Rules::default();
        for service in services {
            self.add(&mut rules, service);
        }
        rules
    }

    fn add(&self, rules: &mut Rules, service: &Service) {
        let hash = short_hash(&format!("{}/{}", service.id, service.protocol.word()), 12);
        let everywhere = service.usable(false);
        let here = service.usable(true);
        let internal = if service.internal_local {
            &here
        } else {
            &everywhere
        };
        let virtual_key = key(service.cluster_ip, service);

        if !everywhere.is_empty() {
            self.add_picker(rules, service, &format!("all_{hash}"), &everywhere);
        }
        if !here.is_empty() && (service.internal_local || service.external_local) {
            self.add_picker(rules, service, &format!("here_{hash}"), &here);
        }
        if internal.is_empty() {
            let verdict = nobody(&everywhere);
            rules
                .elements
                .insert(("refused", virtual_key), verdict.to_owned());
        } else {
            let picker = if service.internal_local {
                "here"
            } else {
                "all"
            };
            rules
                .elements
                .insert(("services", virtual_key), format!("goto {picker}_{hash}"));
        }
        for endpoint in everywhere.iter().filter(|endpoint| endpoint.local) {
            let pair = format!("{0} . {0}", endpoint.ip);
            rules.elements.insert(("hairpin", pair), String::new());
        }
        self.add_external(rules, service, &hash, &everywhere, &here);
    }

    /// Node ports and load balancers' addresses.
    fn add_external(
        &self,
        rules: &mut Rules,
        service: &Service,
        hash: &str,
        everywhere: &[&Endpoint],
        here: &[&Endpoint],
    ) {
        let node_port = service
            .node_port
            .map(|port| format!("{} . {port}", service.protocol.word()));
        let ingress = service.ingress_ips.iter().map(|ip| key(*ip, service));
        if node_port.is_none() && service.ingress_ips.is_empty() {
            return;
        }
        let reachable = if service.external_local {
            here
        } else {
            everywhere
        };
        if reachable.is_empty() {
            let verdict = nobody(everywhere);
            if let Some(port) = node_port {
                rules
                    .elements
                    .insert(("refused_node_ports", port), verdict.to_owned());
            }
            for address in ingress {
                rules
                    .elements
                    .insert(("refused", address), verdict.to_owned());
            }
            return;
        }
        let masquerade = format!("meta mark set meta mark | {MARK}");
        let lines = if service.external_local {
            vec![
                // Whoever is within the cluster is spread over all endpoints, as upstream does.
                format!("ip saddr {} goto all_{hash}", self.cluster_cidr),
                format!("fib saddr type local {masquerade} goto all_{hash}"),
                format!("goto here_{hash}"),
            ]
        } else {
            vec![format!("{masquerade} goto all_{hash}")]
        };
        rules.chains.insert(format!("ext_{hash}"), lines);
        if let Some(port) = node_port {
            rules
                .elements
                .insert(("node_ports", port), format!("goto ext_{hash}"));
        }
        for address in ingress {
            rules
                .elements
                .insert(("services", address), format!("goto ext_{hash}"));
        }
    }

    /// A chain that picks one of `endpoints`.
    fn add_picker(&self, rules: &mut Rules, service: &Service, name: &str, ends: &[&Endpoint]) {
        let protocol = service.protocol.word();
        let Some(timeout) = service.affinity else {
            let line = match ends {
                [only] => format!(
                    "meta l4proto {protocol} dnat ip to {}:{}",
                    only.ip, only.port
                ),
                many => {
                    let targets =
                        numbered(many.iter().map(|end| format!("{} . {}", end.ip, end.port)));
                    let n = many.len();
                    format!(
                        "meta l4proto {protocol} dnat ip to numgen random mod {n} map {{ {targets} }}"
                    )
                }
            };
            rules.chains.insert(name.to_owned(), vec![line]);
            return;
        };
        let mut lines = Vec::new();
        let mut verdicts = Vec::new();
        for end in ends {
            let hash = short_hash(&format!("{name}/{}:{}", end.ip, end.port), 12);
            let (chain, set) = (format!("end_{hash}"), format!("aff_{hash}"));
            let target = format!("{}:{}", end.ip, end.port);
            let remember = format!("update @{set} {{ ip saddr }}");
            let to = format!("{remember} meta l4proto {protocol} dnat ip to {target}");
            rules.chains.insert(chain.clone(), vec![to]);
            let declaration = format!(
                "{{ type ipv4_addr ; size {AFFINITY_CLIENTS} ; flags dynamic,timeout ; timeout {}s ; }}",
                timeout.as_secs().max(1)
            );
            lines.push(format!("ip saddr @{set} goto {chain}"));
            rules.sets.insert(set, declaration);
            verdicts.push(format!("goto {chain}"));
        }
        let n = ends.len();
        lines.push(format!(
            "numgen random mod {n} vmap {{ {} }}",
            numbered(verdicts.into_iter())
        ));
        rules.chains.insert(name.to_owned(), lines);
    }
}

/// Nobody serves at all: say so at once. Somebody serves elsewhere, where the policy forbids to go: be silent, so
/// that a load balancer tries another node.
fn nobody(everywhere: &[&Endpoint]) -> &'static str {
    if everywhere.is_empty() {
        "goto refuse"
    } else {
        "drop"
    }
}

fn key(ip: Ipv4Addr, service: &Service) -> String {
    format!("{ip} . {} . {}", service.protocol.word(), service.port)
}

fn numbered(items: impl Iterator<Item = String>) -> String {
    items
        .enumerate()
        .map(|(idx, item)| format!("{idx} : {item}"))
        .collect::<Vec<_>>()
        .join(", ")
}
