//! Addresses and networks of peers.

use std::net::IpAddr;
use std::str::FromStr;

use thiserror::Error;

/// An address, or a network in CIDR form such as `198.51.100.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    prefix: u8,
}

/// The text is neither an address nor a network.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{0}` is no address and no network; write 198.51.100.7 or 198.51.100.0/24")]
pub struct NetworkError(String);

impl Network {
    /// Whether the address is in it. An IPv4 address in IPv6 clothes counts as IPv4.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.base, ip.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(ip)) => {
                same_prefix(u128::from(base.to_bits()) << 96, u128::from(ip.to_bits()) << 96, self.prefix)
            }
            (IpAddr::V6(base), IpAddr::V6(ip)) => same_prefix(base.to_bits(), ip.to_bits(), self.prefix),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl From<IpAddr> for Network {
    fn from(ip: IpAddr) -> Self {
        let base = ip.to_canonical();
        Self { base, prefix: if base.is_ipv4() { 32 } else { 128 } }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || NetworkError(text.to_owned());
        let (ip, prefix) = match text.split_once('/') {
            Some((ip, prefix)) => (ip, Some(prefix)),
            None => (text, None),
        };
        let whole = Self::from(ip.parse::<IpAddr>().map_err(|_| wrong())?);
        let prefix = prefix.map_or(Ok(whole.prefix), |p| p.parse::<u8>().map_err(|_| wrong()))?;
        if prefix > whole.prefix { Err(wrong()) } else { Ok(Self { prefix, ..whole }) }
    }
}

fn same_prefix(a: u128, b: u128, prefix: u8) -> bool {
    prefix == 0 || (a ^ b) >> (128 - u32::from(prefix)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_what_they_say() {
        let holds =
            |network: &str, ip: &str| network.parse::<Network>().unwrap().contains(ip.parse().unwrap());
        assert!(holds("198.51.100.0/24", "198.51.100.255"));
        assert!(!holds("198.51.100.0/24", "198.51.101.0"));
        assert!(holds("198.51.100.7", "::ffff:198.51.100.7"));
        assert!(!holds("198.51.100.7", "198.51.100.8"));
        assert!(holds("0.0.0.0/0", "203.0.113.9"));
        assert!(!holds("0.0.0.0/0", "2001:db8::1"));
        assert!(holds("2001:db8::/32", "2001:db8:ffff::1"));
        assert!(!holds("2001:db8::/32", "2001:db9::1"));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "phone.example.com", "10.0.0.0/33", "10.0.0.0/-1", "::/129", "10.0.0.1/"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
