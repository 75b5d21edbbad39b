//! Files that every pod gets: `/etc/hosts`, `/etc/resolv.conf`, `/etc/hostname`.

use k8s_openapi::api::core::v1::Pod;

use super::PodExt as _;
use super::fields::Place;
use crate::node::ClusterSettings;

/// The pod's host name: that of its spec, or its name, cut to 63 characters.
pub fn hostname(pod: &Pod) -> String {
    let spec = pod.spec();
    let wanted = spec.hostname_override.as_ref().or(spec.hostname.as_ref());
    let name = wanted.map_or_else(|| pod.name(), String::as_str);
    let mut name: String = name.chars().take(63).collect();
    while name.ends_with(['-', '.']) {
        name.pop();
    }
    name
}

/// `host.subdomain.namespace.svc.domain`, for pods with a subdomain.
fn full_name(pod: &Pod, domain: &str) -> Option<String> {
    let subdomain = pod
        .spec()
        .subdomain
        .as_deref()
        .filter(|name| !name.is_empty())?;
    Some(format!(
        "{}.{subdomain}.{}.svc.{domain}",
        hostname(pod),
        pod.namespace()
    ))
}

/// `/etc/hosts` of a pod with a network of its own, or the machine's with additions.
pub fn hosts(pod: &Pod, place: &Place, domain: &str, machines_own: &str) -> String {
    let mut text = if pod.on_host_network() {
        format!("# Kubernetes-managed hosts file (host network).\n{machines_own}")
    } else {
        let name = hostname(pod);
        let names = full_name(pod, domain).map_or(name.clone(), |full| format!("{full}\t{name}"));
        format!(
            "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n\
             ::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n\
             fe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n\
             {}\t{names}\n",
            place.pod_ip
        )
    };
    let aliases = pod.spec().host_aliases.as_deref().unwrap_or_default();
    if !aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
    }
    for alias in aliases {
        let names = alias.hostnames.as_deref().unwrap_or_default().join("\t");
        text.push_str(&format!("{}\t{names}\n", alias.ip));
    }
    text
}

/// `/etc/resolv.conf` by the pod's DNS policy.
pub fn resolv_conf(pod: &Pod, settings: &ClusterSettings, machines_own: &str) -> String {
    let spec = pod.spec();
    let policy = spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
    let clustered = match policy {
        "ClusterFirst" => !pod.on_host_network(),
        other => other == "ClusterFirstWithHostNet",
    } && !settings.dns.is_empty();

    let own = |word: &str| -> Vec<String> {
        let line = machines_own
            .lines()
            .map(str::split_whitespace)
            .filter_map(|mut words| {
                (words.next() == Some(word)).then(|| words.map(str::to_owned).collect::<Vec<_>>())
            });
        line.flatten().collect()
    };
    let (mut servers, mut searches, mut options) = match policy {
        "None" => (Vec::new(), Vec::new(), Vec::new()),
        _ if clustered => {
            let (namespace, domain) = (pod.namespace(), &settings.domain);
            let mut searches = vec![
                format!("{namespace}.svc.{domain}"),
                format!("svc.{domain}"),
                domain.clone(),
            ];
            searches.extend(own("search"));
            (
                vec![settings.dns.clone()],
                searches,
                vec!["ndots:5".to_owned()],
            )
        }
        _ => (own("nameserver"), own("search"), own("options")),
    };
    if let Some(config) = &spec.dns_config {
        servers.extend(config.nameservers.iter().flatten().cloned());
        searches.extend(config.searches.iter().flatten().cloned());
        for option in config.options.iter().flatten() {
            let name = option.name.clone().unwrap_or_default();
            options.retain(|known| known.split(':').next() != Some(&name));
            let value = option
                .value
                .as_ref()
                .map(|value| format!(":{value}"))
                .unwrap_or_default();
            options.push(format!("{name}{value}"));
        }
    }
    let mut text = String::new();
    for server in servers.iter().take(3) {
        text.push_str(&format!("nameserver {server}\n"));
    }
    if !searches.is_empty() {
        text.push_str(&format!("search {}\n", searches.join(" ")));
    }
    if !options.is_empty() {
        text.push_str(&format!("options {}\n", options.join(" ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(serde_json::json!({
            "metadata": { "name": "web-0", "namespace": "shop" },
            "spec": spec,
        }))
        .unwrap()
    }

    #[test]
    fn dns_policies_choose_servers_and_searches() {
        let settings = ClusterSettings {
            dns: "10.96.0.10".into(),
            domain: "cluster.local".into(),
            ..ClusterSettings::default()
        };
        let own = "nameserver 192.0.2.53\nsearch corp\n";
        let first = pod(serde_json::json!({ "containers": [] }));
        assert_eq!(
            resolv_conf(&first, &settings, own),
            "nameserver 10.96.0.10\n\
             search shop.svc.cluster.local svc.cluster.local cluster.local corp\n\
             options ndots:5\n"
        );
        let host = pod(serde_json::json!({ "containers": [], "hostNetwork": true }));
        assert_eq!(resolv_conf(&host, &settings, own), own);
        let none = pod(serde_json::json!({
            "containers": [],
            "dnsPolicy": "None",
            "dnsConfig": { "nameservers": ["1.1.1.1"], "options": [{ "name": "ndots", "value": "2" }] },
        }));
        let text = resolv_conf(&none, &settings, own);
        assert_eq!(text, "nameserver 1.1.1.1\noptions ndots:2\n");
    }

    #[test]
    fn hosts_name_the_pod_and_its_aliases() {
        let pod = pod(serde_json::json!({
            "containers": [], "subdomain": "db",
            "hostAliases": [{ "ip": "1.2.3.4", "hostnames": ["a", "b"] }],
        }));
        let place = Place {
            pod_ip: "10.1.1.1".into(),
            ..Place::default()
        };
        let text = hosts(&pod, &place, "cluster.local", "");
        assert!(
            text.contains("10.1.1.1\tweb-0.db.shop.svc.cluster.local\tweb-0\n"),
            "{text}"
        );
        assert!(text.contains("1.2.3.4\ta\tb\n"), "{text}");
    }
}
