//! Peers: the senders whose tunnels the agent accepts (`--peer PREFIX`).

use std::net::IpAddr;
use std::str::FromStr;

/// An address prefix. Written without a length, one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    address: IpAddr,
    length: u8,
}

impl Peer {
    /// Whether `source` is within the prefix.
    pub(crate) fn contains(&self, source: IpAddr) -> bool {
        let (a, b) = match (self.address, source) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (left_aligned(a.octets()), left_aligned(b.octets())),
            (IpAddr::V6(a), IpAddr::V6(b)) => (left_aligned(a.octets()), left_aligned(b.octets())),
            _ => return false,
        };
        (a ^ b).checked_shr(128 - u32::from(self.length)).unwrap_or(0) == 0
    }
}

fn left_aligned<const N: usize>(octets: [u8; N]) -> u128 {
    let mut bytes = [0; 16];
    bytes[..N].copy_from_slice(&octets);
    u128::from_be_bytes(bytes)
}

/// Why a text is not a `--peer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// The text is not an address or prefix.
    #[error("write an address or ADDRESS/LENGTH, for example 192.0.2.0/24 or 2001:db8::1")]
    Syntax,
    /// The prefix length is more than the address has bits.
    #[error("the prefix length is at most {0} for this address")]
    Length(u8),
}

impl FromStr for Peer {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => {
                (address, Some(length.parse::<u8>().map_err(|_| Error::Syntax)?))
            }
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| Error::Syntax)?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let length = length.unwrap_or(bits);
        if length > bits {
            return Err(Error::Length(bits));
        }
        Ok(Peer { address, length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(peer: &str, source: &str) -> bool {
        peer.parse::<Peer>().unwrap().contains(source.parse().unwrap())
    }

    #[test]
    fn a_prefix_contains_its_addresses() {
        assert!(contains("192.0.2.1/24", "192.0.2.200"));
        assert!(!contains("192.0.2.1/24", "192.0.3.1"));
        assert!(contains("0.0.0.0/0", "8.8.8.8"));
        assert!(!contains("0.0.0.0/0", "::"));
        assert!(contains("192.0.2.1", "192.0.2.1"));
        assert!(!contains("192.0.2.1", "192.0.2.0"));
        assert!(contains("2001:db8::/33", "2001:db8:7fff::1"));
        assert!(!contains("2001:db8::/33", "2001:db8:8000::1"));
        assert!(!contains("2001:db8::1", "2001:db8::"));
    }

    #[test]
    fn mistakes_are_refused() {
        assert_eq!("192.0.2.1/33".parse::<Peer>(), Err(Error::Length(32)));
        for text in ["", "/8", "192.0.2.1/", "192.0.2/24", "::1/-1"] {
            assert_eq!(text.parse::<Peer>(), Err(Error::Syntax), "{text}");
        }
    }
}
