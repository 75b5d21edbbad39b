//! IPv4 prefixes.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// A prefix such as `10.244.1.0/24`; host bits are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cidr {
    network: u32,
    length: u8,
}

impl Cidr {
    /// The prefix that holds `address`.
    pub fn new(address: Ipv4Addr, length: u8) -> Self {
        let length = length.min(32);
        Self {
            network: u32::from(address) & mask(length),
            length,
        }
    }

    /// First address: the network itself.
    pub fn network(self) -> Ipv4Addr {
        Ipv4Addr::from(self.network)
    }

    /// Length of the prefix.
    pub fn length(self) -> u8 {
        self.length
    }

    /// How many addresses it holds.
    pub fn size(self) -> u64 {
        1 << (32 - self.length)
    }

    /// The address at an offset.
    pub fn at(self, offset: u64) -> Option<Ipv4Addr> {
        (offset < self.size()).then(|| Ipv4Addr::from(self.network + offset as u32))
    }

    /// Whether it holds an address.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & mask(self.length) == self.network
    }
}

fn mask(length: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)
}

impl fmt::Display for Cidr {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.network(), self.length)
    }
}

/// Not a prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an IPv4 prefix such as 10.244.0.0/16")]
pub struct ParseError(String);

impl FromStr for Cidr {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = || ParseError(text.to_owned());
        let (address, length) = text.split_once('/').ok_or_else(wrong)?;
        let length: u8 = length.parse().map_err(|_| wrong())?;
        let address: Ipv4Addr = address.parse().map_err(|_| wrong())?;
        if length > 32 {
            return Err(wrong());
        }
        Ok(Self::new(address, length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_parse_print_and_hold_addresses() {
        let cidr: Cidr = "10.244.3.7/24".parse().unwrap();
        assert_eq!(cidr.to_string(), "10.244.3.0/24");
        assert!(cidr.contains(Ipv4Addr::new(10, 244, 3, 255)));
        assert!(!cidr.contains(Ipv4Addr::new(10, 244, 4, 0)));
        assert_eq!(cidr.at(1), Some(Ipv4Addr::new(10, 244, 3, 1)));
        assert_eq!(cidr.at(256), None);
        assert_eq!("0.0.0.0/0".parse::<Cidr>().unwrap().size(), 1 << 32);
        for wrong in ["10.244.0.0", "10.244.0.0/33", "10.244.0/24", "fd00::/64"] {
            assert!(wrong.parse::<Cidr>().is_err(), "{wrong}");
        }
    }
}
