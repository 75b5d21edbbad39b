//! Addresses and networks as upstream reads them: sloppily in fields from before 1.33, strictly in newer ones.
//!
//! Sloppy means leading zeros in IPv4, IPv4 mapped into IPv6, and networks with host bits; each of these is warned of.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::field_error::go_quote;
use crate::podspec::path::{Errors, Path};

const BAD_IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
const BAD_CIDR: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

/// A network in CIDR notation, read sloppily.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    /// The address as written.
    pub ip: IpAddr,
    /// The address without host bits.
    pub network: IpAddr,
    /// Bits of the network.
    pub prefix: u8,
}

impl Cidr {
    /// Reads `text`; an IPv4 address mapped into IPv6 is one of IPv4, as in Go.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let is_digits = !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
        let mut prefix: u8 = bits.parse().ok().filter(|_| is_digits)?;
        let ip = parse(address)?;
        let written_bits = if address.contains(':') { 128 } else { 32 };
        if prefix > written_bits {
            return None;
        }
        if ip.is_ipv4() && written_bits == 128 {
            prefix = prefix.saturating_sub(96);
        }
        let network = masked(ip, prefix);
        Some(Self {
            ip,
            network,
            prefix,
        })
    }

    /// Whether an address belongs to it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.network.is_ipv4() == ip.is_ipv4() && masked(ip, self.prefix) == self.network
    }

    fn canonical(&self) -> String {
        format!("{}/{}", self.network, self.prefix)
    }
}

fn masked(ip: IpAddr, prefix: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32)));
            Ipv4Addr::from(u32::from(ip) & mask.unwrap_or(0)).into()
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128)));
            Ipv6Addr::from(u128::from(ip) & mask.unwrap_or(0)).into()
        }
    }
}

/// An address, read sloppily.
pub fn parse(text: &str) -> Option<IpAddr> {
    if !text.contains(':') {
        return sloppy_v4(text).map(IpAddr::V4);
    }
    let (head, tail) = text.rsplit_once(':')?;
    let ip: Ipv6Addr = match tail.contains('.') {
        true => format!("{head}:{}", sloppy_v4(tail)?).parse().ok()?,
        false => text.parse().ok()?,
    };
    Some(match ip.to_ipv4_mapped() {
        Some(ip) => ip.into(),
        None => ip.into(),
    })
}

fn sloppy_v4(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let digits = part.trim_start_matches('0');
        *octet = if digits.is_empty() {
            0
        } else {
            digits.parse().ok()?
        };
    }
    parts.next().is_none().then(|| octets.into())
}

fn is_mapped(text: &str) -> bool {
    text.parse::<Ipv6Addr>()
        .is_ok_and(|ip| ip.to_ipv4_mapped().is_some())
}

/// What is wrong with an address in a new field.
pub fn strict_messages(text: &str) -> Vec<String> {
    let Some(ip) = parse(text) else {
        return vec![BAD_IP.to_owned()];
    };
    if text.parse::<IpAddr>().is_err() {
        return vec!["must not have leading 0s".to_owned()];
    }
    if is_mapped(text) {
        return vec!["must not be an IPv4-mapped IPv6 address".to_owned()];
    }
    let canonical = ip.to_string();
    if canonical == text {
        return Vec::new();
    }
    vec![format!(
        "must be in canonical form ({})",
        go_quote(&canonical)
    )]
}

/// What is wrong with a network in a new field.
pub fn strict_cidr_messages(text: &str) -> Vec<String> {
    let Some(cidr) = Cidr::parse(text) else {
        return vec![BAD_CIDR.to_owned()];
    };
    if has_leading_zeros(text) {
        return vec!["must not have leading 0s in IP or prefix length".to_owned()];
    }
    if text
        .split_once('/')
        .is_some_and(|(address, _)| is_mapped(address))
    {
        return vec!["must not have an IPv4-mapped IPv6 address".to_owned()];
    }
    if cidr.ip != cidr.network {
        return vec!["must not have bits set beyond the prefix length".to_owned()];
    }
    let canonical = cidr.canonical();
    if canonical == text {
        return Vec::new();
    }
    vec![format!(
        "must be in canonical form ({})",
        go_quote(&canonical)
    )]
}

/// What is wrong with an address and the length of its network's prefix, such as `192.168.1.5/24`.
pub fn interface_messages(text: &str) -> Vec<String> {
    let Some(cidr) = Cidr::parse(text) else {
        let message = "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)";
        return vec![message.to_owned()];
    };
    let canonical = format!("{}/{}", cidr.ip, cidr.prefix);
    if canonical == text {
        return Vec::new();
    }
    vec![format!(
        "must be in canonical form ({})",
        go_quote(&canonical)
    )]
}

fn has_leading_zeros(cidr: &str) -> bool {
    cidr.split_once('/').is_none_or(|(address, bits)| {
        let padded = bits.len() > 1 && bits.starts_with('0');
        padded || address.parse::<IpAddr>().is_err()
    })
}

/// Checks an address of an old field.
pub fn legacy(errors: &mut Errors, at: Path<'_>, text: &str) {
    if parse(text).is_none() {
        errors.invalid(at, text, BAD_IP);
    }
}

/// Checks a network of an old field, and reads it.
pub fn legacy_cidr(errors: &mut Errors, at: Path<'_>, text: &str) -> Option<Cidr> {
    let cidr = Cidr::parse(text);
    if cidr.is_none() {
        errors.invalid(at, text, BAD_CIDR);
    }
    cidr
}

/// Warns of an address of an old field that a later version will refuse.
pub fn warnings(path: &str, text: &str) -> Vec<String> {
    let Some(ip) = parse(text) else {
        return Vec::new();
    };
    let (quoted, canonical) = (go_quote(text), ip.to_string());
    if text.parse::<IpAddr>().is_err() || is_mapped(text) {
        return vec![format!(
            "{path}: non-standard IP address {quoted} will be considered invalid in a future Kubernetes release: \
             use {}",
            go_quote(&canonical)
        )];
    }
    if ip.is_ipv6() && canonical != text {
        return vec![format!(
            "{path}: IPv6 address {quoted} should be in RFC 5952 canonical format ({})",
            go_quote(&canonical)
        )];
    }
    Vec::new()
}

/// Warns of a network of an old field that a later version will refuse.
pub fn cidr_warnings(path: &str, text: &str) -> Vec<String> {
    let Some(cidr) = Cidr::parse(text) else {
        return Vec::new();
    };
    let mut warnings = Vec::new();
    let (quoted, canonical) = (go_quote(text), go_quote(&cidr.canonical()));
    if cidr.ip != cidr.network {
        let bits = if cidr.ip.is_ipv4() { 32 } else { 128 };
        let single = go_quote(&format!("{}/{bits}", cidr.ip));
        warnings.push(format!(
            "{path}: CIDR value {quoted} is ambiguous in this context (should be {canonical} or {single}?)"
        ));
    }
    let mapped = text
        .split_once('/')
        .is_some_and(|(address, _)| is_mapped(address));
    if has_leading_zeros(text) || mapped {
        warnings.push(format!(
            "{path}: non-standard CIDR value {quoted} will be considered invalid in a future Kubernetes release: use \
             {canonical}"
        ));
    }
    if warnings.is_empty() && cidr.ip.is_ipv6() && cidr.canonical() != text {
        warnings.push(format!(
            "{path}: IPv6 CIDR value {quoted} should be in RFC 5952 canonical format ({canonical})"
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_fields_are_read_strictly() {
        for (text, message) in [
            ("1.2.3.4", ""),
            ("::", ""),
            ("1.1.1.01", "must not have leading 0s"),
            ("::ffff:1.1.1.1", "must not be an IPv4-mapped IPv6 address"),
            ("1234::ABCD", "must be in canonical form (\"1234::abcd\")"),
            ("0:0:0:0:0:0:0:0", "must be in canonical form (\"::\")"),
            ("1.2.3", BAD_IP),
            ("1.2.3.0/24", BAD_IP),
        ] {
            assert_eq!(strict_messages(text).join("|"), message, "{text}");
        }
        for (text, message) in [
            ("10.0.0.0/8", ""),
            ("2001:db8::/64", ""),
            (
                "10.0.0.1/8",
                "must not have bits set beyond the prefix length",
            ),
            (
                "10.0.0.0/08",
                "must not have leading 0s in IP or prefix length",
            ),
            (
                "::ffff:10.0.0.0/104",
                "must not have an IPv4-mapped IPv6 address",
            ),
            (
                "2001:DB8::/64",
                "must be in canonical form (\"2001:db8::/64\")",
            ),
            ("10.0.0.0/33", BAD_CIDR),
            ("10.0.0.0/+8", BAD_CIDR),
        ] {
            assert_eq!(strict_cidr_messages(text).join("|"), message, "{text}");
        }
    }

    #[test]
    fn old_fields_are_read_sloppily_and_warned_of() {
        let cidr = Cidr::parse("192.012.002.8/024").unwrap();
        assert_eq!(cidr.network.to_string(), "192.12.2.0");
        assert!(cidr.contains(parse("192.12.2.200").unwrap()));
        assert!(!cidr.contains(parse("::1").unwrap()));
        assert_eq!(
            cidr_warnings("p", "192.12.2.8/24"),
            [
                "p: CIDR value \"192.12.2.8/24\" is ambiguous in this context (should be \"192.12.2.0/24\" or \
                 \"192.12.2.8/32\"?)"
            ]
        );
        assert_eq!(
            warnings("p", "05.06.07.08"),
            [
                "p: non-standard IP address \"05.06.07.08\" will be considered invalid in a future Kubernetes release: \
                 use \"5.6.7.8\""
            ]
        );
        assert_eq!(
            warnings("p", "::ffff:1.2.3.4")[0].rsplit(' ').next(),
            Some("\"1.2.3.4\"")
        );
        assert!(warnings("p", "10.0.0.1").is_empty());
    }
}
