//! The smallest `nft -f` transaction from the rules that are there to those that should be.
//!
//! Chains and sets are made before anything points at them and removed after nothing does. Established connections
//! are the connection tracker's and feel none of it.

use std::fmt::Write as _;

use super::rules::{Frame, Rules};

/// The whole table anew, in one transaction.
pub fn replace(frame: &Frame, rules: &Rules) -> String {
    let table = &frame.table;
    let mut text = format!(
        "add table ip {table}\ndelete table ip {table}\n{}",
        frame.text()
    );
    text.push_str(&difference(table, &Rules::default(), rules));
    text
}

/// Only what differs; empty when nothing does.
pub fn difference(table: &str, old: &Rules, new: &Rules) -> String {
    let mut text = String::new();
    let mut line = |arguments: std::fmt::Arguments<'_>| {
        let _ = writeln!(text, "{arguments}");
    };
    for (name, declaration) in &new.sets {
        if old.sets.get(name) != Some(declaration) {
            line(format_args!("add set ip {table} {name} {declaration}"));
        }
    }
    let changed = |name: &String| old.chains.get(name) != new.chains.get(name);
    for name in new
        .chains
        .keys()
        .filter(|name| !old.chains.contains_key(*name))
    {
        line(format_args!("add chain ip {table} {name}"));
    }
    for (name, rules) in new.chains.iter().filter(|(name, _)| changed(name)) {
        if old.chains.contains_key(name) {
            line(format_args!("flush chain ip {table} {name}"));
        }
        for rule in rules {
            line(format_args!("add rule ip {table} {name} {rule}"));
        }
    }
    for ((map, key), verdict) in &old.elements {
        if new.elements.get(&(*map, key.clone())) != Some(verdict) {
            line(format_args!("delete element ip {table} {map} {{ {key} }}"));
        }
    }
    for ((map, key), verdict) in &new.elements {
        if old.elements.get(&(*map, key.clone())) != Some(verdict) {
            let colon = if verdict.is_empty() { "" } else { " : " };
            line(format_args!(
                "add element ip {table} {map} {{ {key}{colon}{verdict} }}"
            ));
        }
    }
    let gone: Vec<_> = old
        .chains
        .keys()
        .filter(|name| !new.chains.contains_key(*name))
        .collect();
    for name in &gone {
        line(format_args!("flush chain ip {table} {name}"));
    }
    for name in &gone {
        line(format_args!("delete chain ip {table} {name}"));
    }
    for name in old.sets.keys().filter(|name| !new.sets.contains_key(*name)) {
        line(format_args!("delete set ip {table} {name}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;
    use crate::services::{Endpoint, Protocol, Service};

    fn frame() -> Frame {
        Frame {
            table: "t".into(),
            bridge: "ktk0".into(),
            pod_cidr: "10.244.1.0/24".parse().unwrap(),
            cluster_cidr: "10.244.0.0/16".parse().unwrap(),
        }
    }

    fn endpoint(node: u8, host: u8) -> Endpoint {
        let ip = Ipv4Addr::new(10, 244, node, host);
        let local = node == 1;
        Endpoint {
            ip,
            port: 80,
            ready: true,
            serving: true,
            terminating: false,
            local,
        }
    }

    fn service(endpoints: Vec<Endpoint>) -> Service {
        Service {
            id: "default/web:http".into(),
            cluster_ip: Ipv4Addr::new(10, 96, 0, 7),
            protocol: Protocol::Tcp,
            port: 8080,
            node_port: None,
            ingress_ips: Vec::new(),
            affinity: None,
            internal_local: false,
            external_local: false,
            endpoints,
        }
    }

    #[test]
    fn the_first_rules_spread_over_ready_endpoints() {
        let rules = frame().rules(&[service(vec![endpoint(1, 2), endpoint(2, 2)])]);
        let text = difference("t", &Rules::default(), &rules);
        similar_asserts::assert_eq!(
            text,
            "add chain ip t all_7485d1f351a7\n\
             add rule ip t all_7485d1f351a7 meta l4proto tcp dnat ip to numgen random mod 2 map \
             { 0 : 10.244.1.2 . 80, 1 : 10.244.2.2 . 80 }\n\
             add element ip t hairpin { 10.244.1.2 . 10.244.1.2 }\n\
             add element ip t services { 10.96.0.7 . tcp . 8080 : goto all_7485d1f351a7 }\n"
        );
        assert_eq!(difference("t", &rules, &rules), "");
    }

    #[test]
    fn one_more_endpoint_changes_one_chain_only() {
        let old = frame().rules(&[service(vec![endpoint(2, 2)])]);
        let new = frame().rules(&[service(vec![endpoint(2, 2), endpoint(2, 3)])]);
        let text = difference("t", &old, &new);
        let verbs: Vec<_> = text
            .lines()
            .map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(verbs, ["flush chain", "add rule"]);
    }

    #[test]
    fn without_endpoints_the_address_moves_to_the_refused() {
        let old = frame().rules(&[service(vec![endpoint(2, 2)])]);
        let new = frame().rules(&[service(Vec::new())]);
        let text = difference("t", &old, &new);
        let position = |needle: &str| {
            text.find(needle)
                .unwrap_or_else(|| panic!("{needle}: {text}"))
        };
        let removed = position("delete element ip t services { 10.96.0.7 . tcp . 8080 }");
        assert!(
            removed < position("delete chain ip t all_"),
            "the chain goes last:\n{text}"
        );
        position("add element ip t refused { 10.96.0.7 . tcp . 8080 : goto refuse }");
    }

    #[test]
    fn ending_endpoints_serve_only_when_none_is_ready() {
        let mut ending = endpoint(2, 9);
        (ending.ready, ending.terminating) = (false, true);
        let both = service(vec![ending.clone(), endpoint(2, 2)]);
        assert_eq!(both.usable(false), [&endpoint(2, 2)]);
        assert_eq!(service(vec![ending.clone()]).usable(false), [&ending]);
        ending.serving = false;
        assert!(service(vec![ending]).usable(false).is_empty());
    }

    #[test]
    fn local_policy_keeps_the_client_address_and_drops_where_nobody_is() {
        let mut local = service(vec![endpoint(1, 2), endpoint(2, 2)]);
        (local.external_local, local.node_port) = (true, Some(30080));
        let rules = frame().rules(std::slice::from_ref(&local));
        let external: Vec<_> = rules
            .chains
            .iter()
            .filter(|(n, _)| n.starts_with("ext_"))
            .collect();
        assert!(external[0].1.last().unwrap().starts_with("goto here_"));
        local.endpoints.remove(0);
        let rules = frame().rules(&[local]);
        let refused = rules
            .elements
            .get(&("refused_node_ports", "tcp . 30080".into()));
        assert_eq!(refused.map(String::as_str), Some("drop"));
    }

    #[test]
    fn affinity_remembers_clients_per_endpoint() {
        let mut sticky = service(vec![endpoint(2, 2), endpoint(2, 3)]);
        sticky.affinity = Some(Duration::from_secs(10_800));
        let rules = frame().rules(&[sticky]);
        assert_eq!(rules.sets.len(), 2);
        let gone = difference("t", &rules, &Rules::default());
        let last_chain = gone.rfind("delete chain").unwrap();
        assert!(
            gone.find("delete set").unwrap() > last_chain,
            "sets outlive chains:\n{gone}"
        );
        assert!(replace(&frame(), &rules).starts_with("add table ip t\ndelete table ip t\n"));
    }
}
