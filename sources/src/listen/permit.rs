//! `permit_origin`: the networks from which a listener takes data.

use std::net::IpAddr;

/// A network: an address and how many of its first bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Reads `192.0.2.0/24`, `2001:db8::/32`, or one address. Bits behind the prefix do not count,
    /// as in Vector.
    pub(crate) fn parse(text: &str) -> Option<Network> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            // `parse` alone would also take a sign.
            Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => {
                digits.parse().ok().filter(|prefix| *prefix <= bits)?
            }
            Some(_) => return None,
            None => bits,
        };
        Some(Network { address, prefix })
    }

    fn contains(&self, address: IpAddr) -> bool {
        let (own, other, bits) = match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (u128::from(own.to_bits()), u128::from(other.to_bits()), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits(), other.to_bits(), 128),
            _ => return false,
        };
        let behind = bits - u32::from(self.prefix);
        // A shift by all 128 bits is no shift at all.
        (own ^ other).checked_shr(behind).unwrap_or(0) == 0
    }
}

/// Who may send. Made of no network at all it permits everyone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Permit(pub(crate) Option<Vec<Network>>);

impl Permit {
    /// Whether data from `address` is taken. An IPv4 address in the form of IPv6 counts as what it
    /// is.
    pub(crate) fn permits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0
            .as_ref()
            .is_none_or(|networks| networks.iter().any(|network| network.contains(address)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(network: &str, address: &str) -> bool {
        let network = Network::parse(network).unwrap();
        Permit(Some(vec![network])).permits(address.parse().unwrap())
    }

    #[test]
    fn a_network_has_the_addresses_that_share_its_first_bits() {
        assert!(permits("192.0.2.77/24", "192.0.2.1"));
        assert!(!permits("192.0.2.0/24", "192.0.3.1"));
        assert!(permits("192.0.2.0/24", "::ffff:192.0.2.9"));
        assert!(permits("0.0.0.0/0", "203.0.113.9"));
        assert!(!permits("0.0.0.0/0", "2001:db8::1"));
        assert!(permits("::/0", "2001:db8::1"));
        assert!(permits("2001:db8::/32", "2001:db8:ffff::1"));
        assert!(!permits("2001:db8::/32", "2001:db9::1"));
        assert!(permits("203.0.113.9", "203.0.113.9"));
        assert!(!permits("203.0.113.9", "203.0.113.8"));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "/8", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "10.0/8", "a"] {
            assert_eq!(Network::parse(text), None, "{text}");
        }
    }

    #[test]
    fn without_networks_everyone_may_send() {
        assert!(Permit(None).permits(IpAddr::from([203, 0, 113, 9])));
        assert!(!Permit(Some(Vec::new())).permits(IpAddr::from([203, 0, 113, 9])));
    }
}
