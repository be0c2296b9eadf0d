//! The texts of `[[check]]`: bytes, statuses, headers, names of hosts, signs of a drain.
//!
//! What goes into an HTTP request is checked here, so that no text can end a line of it and begin another.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::check_kind::DrainSign;
use crate::kind::Text;
use crate::shape::Form;
use crate::text::within;

/// The most bytes of a text that a probe sends or looks for.
const MAX_BYTES: usize = 4096;

/// The longest path of a request.
const MAX_PATH: usize = 2048;

/// The longest header, name and value.
const MAX_HEADER: usize = 1024;

/// The longest name of DNS, in the form with points (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 253;

/// The longest label of such a name.
const MAX_LABEL: usize = 63;

/// Every status of HTTP (RFC 9110 section 15).
const STATUSES: RangeInclusive<u16> = 100..=599;

/// Headers that say how long the message is or who it is for, which the probe decides itself.
const OWN_HEADERS: [(&str, &str); 5] = [
    ("host", "`host` sets it"),
    ("content-length", "a probe has no body"),
    ("transfer-encoding", "a probe has no body"),
    ("connection", "a connection has one request"),
    ("expect", "a probe has no body"),
];

/// Text, or bytes in hexadecimal.
pub(super) const BYTES: Text<Vec<u8>> = Text {
    form: &Form {
        noun: "string",
        limits: "1 to 4096 bytes; `\"hex:0a0b\"` is two bytes",
        pattern: r"^(hex:([0-9a-fA-F]{2})+|[\s\S]+)$",
    },
    parse: bytes,
};

pub(super) const METHOD: Text<String> = Text {
    form: &Form {
        noun: "string",
        limits: "1 to 32 capital letters and `-`; not `CONNECT`",
        pattern: "^[A-Z-]{1,32}$",
    },
    parse: method,
};

pub(super) const URL_PATH: Text<String> = Text {
    form: &Form {
        noun: "string",
        limits: "1 to 2048 printable ASCII characters, the first `/`, no space and no `#`",
        pattern: r#"^/[!"$-~]{0,2047}$"#,
    },
    parse: url_path,
};

/// The name of a host, or its address, perhaps with a port: the value of the header `Host`.
pub(super) const AUTHORITY: Text<String> = Text {
    form: &Form {
        noun: "host",
        limits: "a name or an address, perhaps with `:` and a port",
        pattern: r"^[A-Za-z0-9._:\[\]-]{1,261}$",
    },
    parse: authority,
};

/// The name of a host.
pub(super) const HOST_NAME: Text<String> = Text {
    form: &Form {
        noun: "host name",
        limits: "of ASCII letters, digits, `-`, `_` and points, no address",
        pattern: r"^[A-Za-z0-9._-]{1,253}$",
    },
    parse: host_name,
};

pub(super) const HEADER: Text<(String, String)> = Text {
    form: &Form {
        noun: "header",
        limits: "`Name: value`",
        pattern: r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+:[ -~]*$",
    },
    parse: header,
};

pub(super) const STATUS: Text<RangeInclusive<u16>> = Text {
    form: &Form {
        noun: "string",
        limits: "`\"200\"` or `\"200-399\"`, each 100 to 599",
        pattern: r"^[1-5]\d\d(-[1-5]\d\d)?$",
    },
    parse: status,
};

pub(super) const SIGN: Text<DrainSign> = Text {
    form: &Form {
        noun: "string",
        limits: "`\"404\"`, `\"500-503\"`, `\"X-Drain\"` or `\"X-Drain: yes\"`",
        pattern: r"^([1-5]\d\d(-[1-5]\d\d)?|[!#$%&'*+.^_`|~0-9A-Za-z-]+(:[ -~]*)?)$",
    },
    parse: sign,
};

fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let bytes = match text.strip_prefix("hex:") {
        None => text.as_bytes().to_vec(),
        Some(digits) => hexadecimal(digits)
            .ok_or("expected two hexadecimal digits for each byte after hex:, like hex:0d0a")?,
    };
    match bytes.len() {
        0 => Err("expected at least one byte; leave the key out for none".to_owned()),
        1..=MAX_BYTES => Ok(bytes),
        long => Err(format!("it has {long} bytes; there can be {MAX_BYTES}")),
    }
}

fn hexadecimal(digits: &str) -> Option<Vec<u8>> {
    let value =
        |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let byte = |pair: &[u8]| match *pair {
        [high, low] => Some(value(high)? << 4 | value(low)?),
        _ => None,
    };
    digits.as_bytes().chunks(2).map(byte).collect()
}

fn method(text: &str) -> Result<String, String> {
    if text == "CONNECT" {
        return Err("a probe asks for no tunnel; expected a method like GET or HEAD".to_owned());
    }
    let allowed = |c: char| c.is_ascii_uppercase() || c == '-';
    within(text, 1..=32, allowed, "a method in capital letters, like GET or HEAD")
}

fn url_path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err("expected a path that begins with a slash, like /healthz".to_owned());
    }
    if text.contains('#') {
        return Err("a fragment, from # on, is for browsers and never sent; remove it".to_owned());
    }
    let expected = "1 to 2048 printable ASCII characters without spaces; write others as %20";
    within(text, 1..=MAX_PATH, |c| c.is_ascii_graphic(), expected)
}

/// The name in an authority that has no address.
pub(super) fn name_of(authority: &str) -> Option<&str> {
    let (host, _) = host_and_port(authority);
    is_host_name(host).then_some(host)
}

fn host_and_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        // The colons of an address are in brackets if a port follows.
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

fn authority(text: &str) -> Result<String, String> {
    let (host, port) = host_and_port(text);
    if port.is_some_and(|port| port.parse::<u16>().is_err() || port.starts_with('+')) {
        return Err("expected a port from 0 to 65535 after the colon".to_owned());
    }
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match bracketed {
        Some(v6) if v6.parse::<std::net::Ipv6Addr>().is_ok() => Ok(text.to_owned()),
        None if host.parse::<std::net::Ipv4Addr>().is_ok() || is_host_name(host) => {
            Ok(text.to_owned())
        }
        None if host.parse::<std::net::Ipv6Addr>().is_ok() => {
            Err(format!("an IPv6 address is in brackets here; expected [{host}]"))
        }
        _ => Err("expected a host like www.example.com, 192.0.2.1 or [2001:db8::1], perhaps with \
                  a colon and a port"
            .to_owned()),
    }
}

fn host_name(text: &str) -> Result<String, String> {
    if text.parse::<IpAddr>().is_ok() {
        return Err("TLS asks for no address by this; expected a host name, or leave the key out"
            .to_owned());
    }
    if is_host_name(text) {
        return Ok(text.to_owned());
    }
    Err("expected a host name like www.example.com (others as xn--...)".to_owned())
}

/// Whether DNS could have the name. Underscores are in no host's name, and in use.
fn is_host_name(text: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
    let label = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && label.bytes().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // A last label of digits alone makes a text an address (RFC 3696 section 2), which this then is not.
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= MAX_NAME
        && text.split('.').all(label)
        && !last.bytes().all(|digit| digit.is_ascii_digit())
}

fn header(text: &str) -> Result<(String, String), String> {
    let Some((name, value)) = text.split_once(':') else {
        return Err("expected a header like \"X-Probe: guideway\"".to_owned());
    };
    let (name, value) = name_and_value(name, value, text)?;
    if let Some((own, why)) = OWN_HEADERS.iter().find(|(own, _)| name.eq_ignore_ascii_case(own)) {
        return Err(format!("the probe has its own {own}: {why}"));
    }
    Ok((name, value))
}

/// The two parts of a header that may be sent (RFC 9110 section 5).
fn name_and_value(name: &str, value: &str, text: &str) -> Result<(String, String), String> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(is_token) {
        return Err("expected the name of a header before the colon, like X-Probe".to_owned());
    }
    let value = value.trim_matches([' ', '\t']);
    if !value.chars().all(|c| c.is_ascii_graphic() || c == ' ' || c == '\t') {
        return Err("expected a value of printable ASCII characters on one line".to_owned());
    }
    if text.len() > MAX_HEADER {
        return Err(format!("it has {} bytes; there can be {MAX_HEADER}", text.len()));
    }
    Ok((name.to_owned(), value.to_owned()))
}

fn status(text: &str) -> Result<RangeInclusive<u16>, String> {
    let number = |text: &str| {
        let digits = text.len() == 3 && text.bytes().all(|digit| digit.is_ascii_digit());
        text.parse().ok().filter(|number| digits && STATUSES.contains(number))
    };
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    match (number(low), number(high)) {
        (Some(low), Some(high)) if low <= high => Ok(low..=high),
        (Some(low), Some(high)) => Err(format!("expected {high}-{low}, the smaller one first")),
        _ => Err("expected a status from 100 to 599, or two like 200-399".to_owned()),
    }
}

fn sign(text: &str) -> Result<DrainSign, String> {
    if text.starts_with(|first: char| first.is_ascii_digit()) && !text.contains(':') {
        return status(text).map(DrainSign::Status);
    }
    match text.split_once(':') {
        None => {
            let (name, _) = name_and_value(text, "", text).map_err(
                |_| "expected a status like 404, or a header like X-Drain or \"X-Drain: yes\"",
            )?;
            Ok(DrainSign::Header(name, None))
        }
        Some((name, value)) => {
            let (name, value) = name_and_value(name, value, text)?;
            if value.is_empty() {
                return Err(
                    "expected a value after the colon; without a value leave out the colon"
                        .to_owned(),
                );
            }
            Ok(DrainSign::Header(name, Some(value)))
        }
    }
}
