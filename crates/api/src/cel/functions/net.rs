//! Kubernetes' libraries of addresses and networks. They read strictly: no leading zeros, no zones, no IPv4 in IPv6.

use std::net::IpAddr;

use super::{Overload, Scope, global, member, unfit};
use crate::cel::error::EvalError;
use crate::cel::eval::Evaluated;
use crate::cel::value::{Cidr, Value};

pub(super) fn table() -> Vec<Overload> {
    let mut table = vec![
        global("ip", "string", "ip", |args, _| match args {
            [Value::String(text)] => parse_ip(text).map(Value::Ip),
            _ => unfit(),
        }),
        global("isIP", "string", "bool", |args, _| match args {
            [Value::String(text)] => Ok(Value::Bool(parse_ip(text).is_ok())),
            _ => unfit(),
        }),
        global("ip.isCanonical", "string", "bool", |args, _| match args {
            [Value::String(text)] => Ok(Value::Bool(parse_ip(text)?.to_string() == text.as_str())),
            _ => unfit(),
        }),
        global("cidr", "string", "cidr", |args, _| match args {
            [Value::String(text)] => parse_cidr(text).map(Value::Cidr),
            _ => unfit(),
        }),
        global("isCIDR", "string", "bool", |args, _| match args {
            [Value::String(text)] => Ok(Value::Bool(parse_cidr(text).is_ok())),
            _ => unfit(),
        }),
        member("family", "ip", "int", |args, _| match args {
            [Value::Ip(ip)] => Ok(Value::Int(if ip.is_ipv4() { 4 } else { 6 })),
            _ => unfit(),
        }),
        member("ip", "cidr", "ip", |args, _| match args {
            [Value::Cidr(cidr)] => Ok(Value::Ip(cidr.ip)),
            _ => unfit(),
        }),
        member("masked", "cidr", "cidr", |args, _| match args {
            [Value::Cidr(cidr)] => Ok(Value::Cidr(Cidr {
                ip: masked(cidr.ip, cidr.prefix),
                prefix: cidr.prefix,
            })),
            _ => unfit(),
        }),
        member("prefixLength", "cidr", "int", |args, _| match args {
            [Value::Cidr(cidr)] => Ok(Value::Int(i64::from(cidr.prefix))),
            _ => unfit(),
        }),
    ];
    for of in ["ip", "string"] {
        table.push(member(
            "containsIP",
            &format!("cidr, {of}"),
            "bool",
            contains_ip,
        ));
    }
    for of in ["cidr", "string"] {
        table.push(member(
            "containsCIDR",
            &format!("cidr, {of}"),
            "bool",
            contains_cidr,
        ));
    }
    let properties: [(&'static str, super::Run); 5] = [
        ("isUnspecified", |args, _| {
            property(args, |ip| ip.is_unspecified())
        }),
        ("isLoopback", |args, _| {
            property(args, |ip| ip.is_loopback())
        }),
        ("isLinkLocalMulticast", |args, _| {
            property(args, is_link_local_multicast)
        }),
        ("isLinkLocalUnicast", |args, _| {
            property(args, is_link_local)
        }),
        ("isGlobalUnicast", |args, _| property(args, is_global)),
    ];
    for (name, run) in properties {
        table.push(member(name, "ip", "bool", run));
    }
    table
}

fn property<'a>(args: &[Value<'a>], of: fn(IpAddr) -> bool) -> Evaluated<'a> {
    match args {
        [Value::Ip(ip)] => Ok(Value::Bool(of(*ip))),
        _ => unfit(),
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

fn is_link_local_multicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets()[..3] == [224, 0, 0],
        IpAddr::V6(ip) => ip.segments()[0] & 0xff0f == 0xff02,
    }
}

/// Go's notion: private addresses are global unicast too.
fn is_global(ip: IpAddr) -> bool {
    let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    !is_broadcast
        && !ip.is_unspecified()
        && !ip.is_loopback()
        && !ip.is_multicast()
        && !is_link_local(ip)
}

fn parse_ip(text: &str) -> Result<IpAddr, EvalError> {
    if text.contains('%') {
        return Err(EvalError::failed(format!(
            "IP address {text:?} with zone value is not allowed"
        )));
    }
    let ip: IpAddr = text.parse().map_err(|_| {
        EvalError::failed(format!(
            "IP Address {text:?} parse error during conversion from string: ParseAddr({text:?}): unable to parse IP"
        ))
    })?;
    match ip {
        IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => Err(EvalError::failed(format!(
            "IPv4-mapped IPv6 address {text:?} is not allowed"
        ))),
        ip => Ok(ip),
    }
}

fn parse_cidr(text: &str) -> Result<Cidr, EvalError> {
    let failed = || {
        EvalError::failed(format!(
            "network address parse error during conversion from string: netip.ParsePrefix({text:?}): invalid"
        ))
    };
    let (ip, prefix) = text.split_once('/').ok_or_else(failed)?;
    let ip = parse_ip(ip).map_err(|_| failed())?;
    let is_plain = !prefix.is_empty()
        && prefix.bytes().all(|byte| byte.is_ascii_digit())
        && (prefix == "0" || !prefix.starts_with('0'));
    let prefix: u8 = prefix
        .parse()
        .ok()
        .filter(|_| is_plain)
        .ok_or_else(failed)?;
    let bits = if ip.is_ipv4() { 32 } else { 128 };
    if prefix > bits {
        return Err(failed());
    }
    Ok(Cidr { ip, prefix })
}

fn masked(ip: IpAddr, prefix: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            std::net::Ipv4Addr::from(u32::from(ip) & mask).into()
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            std::net::Ipv6Addr::from(u128::from(ip) & mask).into()
        }
    }
}

fn contains(cidr: &Cidr, ip: IpAddr) -> bool {
    cidr.ip.is_ipv4() == ip.is_ipv4() && masked(ip, cidr.prefix) == masked(cidr.ip, cidr.prefix)
}

fn contains_ip<'a>(args: &[Value<'a>], _: &mut Scope<'_>) -> Evaluated<'a> {
    let (cidr, ip) = match args {
        [Value::Cidr(cidr), Value::Ip(ip)] => (cidr, *ip),
        [Value::Cidr(cidr), Value::String(text)] => (cidr, parse_ip(text)?),
        _ => return unfit(),
    };
    Ok(Value::Bool(contains(cidr, ip)))
}

fn contains_cidr<'a>(args: &[Value<'a>], _: &mut Scope<'_>) -> Evaluated<'a> {
    let (cidr, other) = match args {
        [Value::Cidr(cidr), Value::Cidr(other)] => (cidr, *other),
        [Value::Cidr(cidr), Value::String(text)] => (cidr, parse_cidr(text)?),
        _ => return unfit(),
    };
    let holds = contains(cidr, other.ip) && cidr.prefix <= other.prefix;
    Ok(Value::Bool(holds))
}
