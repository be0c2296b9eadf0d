//! The forms of strings: addresses, prefixes, MAC addresses, names, the hash key.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use super::kind::{Kind, Text};
use super::shape::{Form, Shape};
use super::tree::Value;
use ipnet::IpNet;

/// A MAC address.
pub type Mac = [u8; 6];

/// An address that one host can have.
pub(crate) const HOST: Text<IpAddr> = Text {
    form: &Form {
        noun: "address",
        limits: "unicast",
        pattern: r"^(\d{1,3}(\.\d{1,3}){3}|[\da-fA-F:.]*:[\da-fA-F:.]*)$",
    },
    parse: host,
};

/// An address that one host can have beyond its own link.
pub(crate) const ROUTABLE: Text<IpAddr> =
    Text { form: &Form { limits: "unicast, not link-local", ..*HOST.form }, parse: routable };

/// An address with the length of its prefix.
pub(crate) const PREFIX: Text<IpNet> = Text {
    form: &Form {
        noun: "prefix",
        limits: "lengths 1 to 32 and 1 to 128",
        pattern: r"^(\d{1,3}(\.\d{1,3}){3}|[\da-fA-F:.]*:[\da-fA-F:.]*)/\d{1,3}$",
    },
    parse: prefix,
};

/// The MAC address of one host.
pub(crate) const MAC: Text<Mac> = Text {
    form: &Form {
        noun: "MAC address",
        limits: "unicast",
        pattern: r"^[\da-fA-F]{2}([:-][\da-fA-F]{2}){5}$",
    },
    parse: mac,
};

/// The name of a node, a port or a check: it appears on command lines and in file names.
pub(crate) const IDENTIFIER: Text<String> = Text {
    form: &Form {
        noun: "string",
        limits: "1 to 63 letters, digits, `.`, `_`, `-`",
        pattern: "^[A-Za-z0-9._-]{1,63}$",
    },
    parse: identifier,
};

/// The name of a pool, a backend or a service: it appears in listings and in labels of metrics.
pub(crate) const NAME: Text<String> = Text {
    form: &Form {
        noun: "string",
        limits: "1 to 255 bytes without white space and control characters",
        pattern: r"^\S{1,255}$",
    },
    parse: name,
};

fn identifier(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    within(text, 1..=63, allowed, "1 to 63 letters, digits, points, underscores and hyphens")
}

fn name(text: &str) -> Result<String, String> {
    // Of tens of thousands of names, nearly all are such.
    if (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    let allowed = |c: char| !c.is_control() && !c.is_whitespace();
    within(text, 1..=255, allowed, "1 to 255 bytes without white space and control characters")
}

/// A text of so many bytes and of allowed characters only; `expected` says so in words.
pub(crate) fn within(
    text: &str,
    bytes: RangeInclusive<usize>,
    allowed: impl Fn(char) -> bool,
    expected: &str,
) -> Result<String, String> {
    let fits = bytes.contains(&text.len()) && text.chars().all(allowed);
    if fits { Ok(text.to_owned()) } else { Err(format!("expected {expected}")) }
}

fn host(text: &str) -> Result<IpAddr, String> {
    let Ok(address) = text.parse() else {
        let hint = match () {
            () if text.contains('/') => ", without a prefix length",
            () if text.contains('%') => ", without a zone",
            () if text.contains('[') || text.matches(':').count() == 1 => ", without a port",
            () => "",
        };
        return Err(format!("expected an address like 192.0.2.1 or 2001:db8::1{hint}"));
    };
    unicast(address)?;
    Ok(address)
}

pub(crate) fn routable(text: &str) -> Result<IpAddr, String> {
    let address = host(text)?;
    if is_link_local_v6(address) {
        return Err("a link-local address is ambiguous without its link; expected a global or \
                    unique local address"
            .to_owned());
    }
    Ok(address)
}

/// `fe80::/10`.
pub(crate) fn is_link_local_v6(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// The address family in words.
pub(crate) fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

fn unicast(address: IpAddr) -> Result<(), String> {
    let mapped = matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some());
    let kind = match address {
        IpAddr::V6(_) if mapped => "an IPv4-mapped address; write it as IPv4 address",
        _ if address.is_unspecified() => "the unspecified address",
        _ if address.is_loopback() => "a loopback address",
        _ if address.is_multicast() => "a multicast address",
        IpAddr::V4(Ipv4Addr::BROADCAST) => "the broadcast address",
        IpAddr::V4(v4) if v4.octets()[0] == 0 => "an address of 0.0.0.0/8, which no host has",
        _ => return Ok(()),
    };
    Err(format!("this is {kind}; expected the address of one host"))
}

pub(crate) fn prefix(text: &str) -> Result<IpNet, String> {
    let Some((address, length)) = text.split_once('/') else {
        return Err("expected an address with its prefix length, like 192.0.2.1/24".to_owned());
    };
    let address = host(address)?;
    let longest = if address.is_ipv4() { Ipv4Addr::BITS } else { Ipv6Addr::BITS };
    let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    let length: Option<u8> = length.parse().ok().filter(|&length| digits && length > 0);
    length
        .and_then(|length| IpNet::new(address, length).ok())
        .ok_or_else(|| format!("expected a prefix length from 1 to {longest} after the slash"))
}

fn mac(text: &str) -> Result<Mac, String> {
    let separator = if text.contains('-') { '-' } else { ':' };
    let bytes: Option<Vec<u8>> = text.split(separator).map(hexadecimal).collect();
    let mac: Mac = bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| "expected six bytes in hexadecimal, like 02:00:00:00:00:01".to_owned())?;
    if mac == Mac::default() {
        return Err("this address is all zeros; expected the address of one host".to_owned());
    }
    if mac[0] & 1 == 1 {
        return Err("this is a group address (the lowest bit of its first byte is set); expected \
                    the address of one host"
            .to_owned());
    }
    Ok(mac)
}

/// Two hexadecimal digits.
fn hexadecimal(digits: &str) -> Option<u8> {
    let valid = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    valid.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

/// 128 bits in hexadecimal. Messages do not repeat the value: a key does not belong in a log.
pub(crate) struct Key128;

impl Kind for Key128 {
    type Value = [u8; 16];

    fn parse(&self, value: &Value<'_>) -> Result<[u8; 16], String> {
        const HOW: &str = "expected 32 hexadecimal digits in quotes, equal on every node; \
                           `openssl rand -hex 16` makes some";
        let Value::String(text) = value else {
            return Err(format!("is not a string; {HOW}"));
        };
        if let Some(other) = text.chars().find(|c| !c.is_ascii_hexdigit()) {
            return Err(format!("has the character {other:?} in it; {HOW}"));
        }
        let mut key = [0; 16];
        if text.len() != 2 * key.len() {
            return Err(format!("has {} digits; {HOW}", text.len()));
        }
        for (byte, digits) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).unwrap_or_default();
            *byte = hexadecimal(digits).unwrap_or_default();
        }
        Ok(key)
    }

    fn shape(&self) -> Shape {
        Shape::Text(&Form {
            noun: "string",
            limits: "32 hexadecimal digits (128 bits)",
            pattern: "^[0-9a-fA-F]{32}$",
        })
    }

    fn show(&self, _: &[u8; 16]) -> String {
        "a secret".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses a value in TOML notation.
    fn parsed<K: Kind>(kind: &K, value: &str) -> Result<K::Value, String> {
        kind.parse(&Value::parse(value).unwrap())
    }

    #[track_caller]
    fn refuses<T: std::fmt::Debug>(result: Result<T, String>, why: &str) {
        let message = result.unwrap_err();
        assert!(message.contains(why), "{message}");
    }

    #[test]
    fn hosts_are_unicast() {
        assert_eq!(host("2001:db8::1"), Ok("2001:db8::1".parse().unwrap()));
        assert_eq!(host("240.0.0.1"), Ok("240.0.0.1".parse().unwrap()));
        refuses(host("0.0.0.0"), "unspecified");
        refuses(host("0.1.2.3"), "0.0.0.0/8");
        refuses(host("::"), "unspecified");
        refuses(host("127.0.0.1"), "loopback");
        refuses(host("::1"), "loopback");
        refuses(host("224.0.0.1"), "multicast");
        refuses(host("ff02::1"), "multicast");
        refuses(host("255.255.255.255"), "broadcast");
        refuses(host("::ffff:192.0.2.1"), "IPv4-mapped");
        refuses(host("192.0.2.1/24"), "without a prefix length");
        refuses(host("192.0.2.1:80"), "without a port");
        refuses(host("[2001:db8::1]:80"), "without a port");
        refuses(host("fe80::1%eth0"), "without a zone");
        refuses(host("192.0.2.256"), "expected an address");
        assert!(host("fe80::1").is_ok());
        refuses(routable("fe80::1"), "link-local");
    }

    #[test]
    fn prefixes_fit_their_family() {
        assert_eq!(prefix("192.0.2.1/32"), Ok("192.0.2.1/32".parse().unwrap()));
        assert_eq!(prefix("192.0.2.1/24").unwrap().addr().to_string(), "192.0.2.1");
        assert_eq!(prefix("2001:db8::1/128").unwrap().prefix_len(), 128);
        for wrong in ["192.0.2.1/33", "192.0.2.1/0", "192.0.2.1/", "192.0.2.1/+8", "192.0.2.1/256"]
        {
            refuses(prefix(wrong), "from 1 to 32");
        }
        refuses(prefix("2001:db8::1/129"), "from 1 to 128");
        refuses(prefix("192.0.2.1"), "with its prefix length");
        refuses(prefix("127.0.0.1/8"), "loopback");
    }

    #[test]
    fn macs_are_of_one_host() {
        assert_eq!(mac("02:00:00:00:aB:0f"), Ok([2, 0, 0, 0, 0xab, 0x0f]));
        assert_eq!(mac("02-00-00-00-ab-0f"), Ok([2, 0, 0, 0, 0xab, 0x0f]));
        refuses(mac("00:00:00:00:00:00"), "zeros");
        refuses(mac("01:00:5e:00:00:01"), "group");
        refuses(mac("ff:ff:ff:ff:ff:ff"), "group");
        for wrong in
            ["", "02:00:00:00:00", "02:00:00:00:00:01:02", "2:0:0:0:0:1", "02:00:00:00:00:+1"]
        {
            refuses(mac(wrong), "six bytes");
        }
    }

    #[test]
    fn keys_are_128_bits_and_never_repeated() {
        let given = parsed(&Key128, "\"000102030405060708090a0b0c0d0e0F\"");
        assert_eq!(given, Ok(std::array::from_fn(|index| u8::try_from(index).unwrap())));
        refuses(parsed(&Key128, "\"0001\""), "has 4 digits; expected 32 hexadecimal digits");
        refuses(parsed(&Key128, "\"0x0102030405060708090a0b0c0d0e0f\""), "has the character 'x'");
        refuses(parsed(&Key128, "\"é00102030405060708090a0b0c0d0e0f\""), "has the character 'é'");
        let number = parsed(&Key128, "123456").unwrap_err();
        assert!(number.contains("openssl rand -hex 16") && !number.contains("123456"), "{number}");
    }

    #[test]
    fn names() {
        assert!(identifier("edge-0.a_B").is_ok());
        assert!(identifier(&"a".repeat(63)).is_ok());
        for wrong in ["", "a b", "a/b", "ä", &"a".repeat(64)] {
            refuses(identifier(wrong), "1 to 63");
        }
        assert!(name("web/[2001:db8::1]:80").is_ok());
        for wrong in ["", "a b", "a\n", "a\u{0}", &"a".repeat(256)] {
            refuses(name(wrong), "1 to 255");
        }
    }
}
