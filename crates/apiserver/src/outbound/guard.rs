//! Where no extension may be: who may write a webhook must not thereby read what only this machine can reach.

use std::net::IpAddr;

/// Where clouds answer with credentials, beside the link-local address.
const METADATA: &[&str] = &["fd00:ec2::254", "100.100.100.200", "192.0.0.192"];

/// Why an address is refused, if it is.
pub(super) fn refusal(ip: IpAddr, allow_loopback: bool) -> Option<&'static str> {
    let ip = ip.to_canonical();
    let is_link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    if is_link_local || ip.is_multicast() {
        return Some("it is link-local");
    }
    if METADATA.iter().any(|known| known.parse() == Ok(ip)) {
        return Some("it is a cloud's metadata service");
    }
    // The unspecified address reaches this machine too.
    if (ip.is_loopback() || ip.is_unspecified()) && !allow_loopback {
        return Some("it is this machine's own, which takes `allow-loopback-extensions`");
    }
    None
}

/// Whether a proxy never connects to an address: only the replica's own machine reaches it.
pub(crate) fn is_refused(ip: IpAddr) -> bool {
    refusal(ip, false).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_this_machine_reaches_is_refused() {
        for (ip, is_refused, is_refused_with_loopback) in [
            ("10.1.2.3", false, false),
            ("2001:db8::1", false, false),
            ("127.0.0.1", true, false),
            ("::1", true, false),
            ("0.0.0.0", true, false),
            ("::ffff:127.0.0.1", true, false),
            ("169.254.169.254", true, true),
            ("::ffff:169.254.169.254", true, true),
            ("fe80::1", true, true),
            ("fd00:ec2::254", true, true),
            ("224.0.0.1", true, true),
        ] {
            let parsed: IpAddr = ip.parse().expect(ip);
            assert_eq!(refusal(parsed, false).is_some(), is_refused, "{ip}");
            assert_eq!(
                refusal(parsed, true).is_some(),
                is_refused_with_loopback,
                "{ip}"
            );
        }
    }
}
