//! `port.device`: the DPDK device of a port, with the arguments of its driver.
//!
//! Arguments pass to the driver unchanged, with one exception: the members of a bond are devices too, which
//! must exist and belong to no other port.

use crate::kind::Text;
use crate::shape::Form;

/// A PCI address, or the name of a virtual device, and the driver's arguments.
pub(crate) const DEVICE: Text<String> = Text {
    form: &Form {
        noun: "string",
        limits: "",
        pattern: r"^(([\da-fA-F]{1,8}:)?[\da-fA-F]{1,2}:[\da-fA-F]{1,2}\.[0-7]|net_[\w-]{1,59})(,.*)?$",
    },
    parse: read,
};

/// The longest name of a device: `RTE_DEV_NAME_MAX_LEN` without the final zero.
const MAX_DEVICE_NAME: usize = 63;

/// The prefix of the names of bonds.
const BOND: &str = "net_bonding";

/// The argument that names a member of a bond, as of DPDK 23.11.
const MEMBER: &str = "member";
/// The argument that names a member of a bond, before DPDK 23.11.
const OLD_MEMBER: &str = "slave";

/// A PCI address, completed as DPDK writes it, or the name of a virtual device. Arguments of the driver
/// may follow after a comma.
fn read(text: &str) -> Result<String, String> {
    if text.chars().any(char::is_control) {
        return Err("it has a control character in it".to_owned());
    }
    let end = text.find(',').unwrap_or(text.len());
    let (name, arguments) = text.split_at(end);
    if let Some(pci) = pci(name) {
        return Ok(pci + arguments);
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !name.starts_with("net_") || name == "net_" || !name.bytes().all(allowed) {
        return Err("expected a PCI address like 0000:3b:00.0, or a virtual device like \
                    net_af_packet0,iface=veth0"
            .to_owned());
    }
    if name.len() > MAX_DEVICE_NAME {
        return Err(format!("its name has over {MAX_DEVICE_NAME} characters"));
    }
    if name.starts_with(BOND) { bond(name, arguments) } else { Ok(text.to_owned()) }
}

/// A bond, with its members as `member=` and completed PCI addresses.
fn bond(name: &str, arguments: &str) -> Result<String, String> {
    let mut bond = name.to_owned();
    let mut members = 0;
    for argument in arguments.split(',').skip(1) {
        bond += ",";
        match argument.split_once('=') {
            Some((MEMBER | OLD_MEMBER, address)) => {
                let Some(address) = pci(address) else {
                    return Err(format!(
                        "expected a PCI address like 0000:3b:00.0 as a member, not \"{address}\""
                    ));
                };
                bond += &format!("{MEMBER}={address}");
                members += 1;
            }
            _ => bond += argument,
        }
    }
    if members == 0 {
        return Err("a bond needs members: net_bonding0,mode=1,member=0000:3b:00.0,\
                    member=0000:3b:00.1"
            .to_owned());
    }
    Ok(bond)
}

/// The members of a device that [`read`] accepted; none unless the device is a bond.
pub(crate) fn members(device: &str) -> impl Iterator<Item = &str> {
    let arguments = if device.starts_with(BOND) { device } else { "" };
    arguments.split(',').filter_map(|argument| argument.strip_prefix(MEMBER)?.strip_prefix('='))
}

/// The names that no other port may have: the device's, whatever its arguments, and its members'.
pub(crate) fn names(device: &str) -> impl Iterator<Item = &str> {
    device.split(',').take(1).chain(members(device))
}

/// `[domain:]bus:device.function`, in hexadecimal.
fn pci(text: &str) -> Option<String> {
    let number = |digits: &str, longest: usize, largest: u32| {
        let valid = (1..=longest).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = valid.then(|| u32::from_str_radix(digits, 16).ok()).flatten();
        number.filter(|&number| number <= largest)
    };
    let (rest, function) = text.rsplit_once('.')?;
    let (rest, device) = rest.rsplit_once(':')?;
    let (domain, bus) = rest.rsplit_once(':').unwrap_or(("0", rest));
    let domain = number(domain, 8, u32::MAX)?;
    let (bus, device) = (number(bus, 2, 0xff)?, number(device, 2, 0x1f)?);
    Some(format!("{domain:04x}:{bus:02x}:{device:02x}.{}", number(function, 1, 7)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices() {
        for (text, expected) in [
            ("0000:3b:00.0", "0000:3b:00.0"),
            ("3B:1f.7", "0000:3b:1f.7"),
            ("10000:01:00.0", "10000:01:00.0"),
            ("0:1:2.3,mprq_en=1", "0000:01:02.3,mprq_en=1"),
            ("net_af_packet0,iface=veth0", "net_af_packet0,iface=veth0"),
            ("net_ring0,member=x,slave=y", "net_ring0,member=x,slave=y"),
        ] {
            assert_eq!(read(text), Ok(expected.to_owned()));
            assert_eq!(members(expected).count(), 0);
        }
        for wrong in
            ["", "eth0", "net_", "3b:00", "3b:00.8", "3b:20.0", "100:00.0", "net_a b", ":1.1"]
        {
            assert!(read(wrong).unwrap_err().contains("expected a PCI address"), "{wrong}");
        }
        assert!(read(&format!("net_{}", "a".repeat(60))).unwrap_err().contains("63"));
    }

    #[test]
    fn bonds() {
        let text = "net_bonding0,mode=1,slave=3b:00.0,member=0000:3B:00.1,primary=0000:3b:00.0";
        let bond = "net_bonding0,mode=1,member=0000:3b:00.0,member=0000:3b:00.1,\
                    primary=0000:3b:00.0";
        assert_eq!(read(text), Ok(bond.to_owned()));
        assert_eq!(members(bond).collect::<Vec<_>>(), ["0000:3b:00.0", "0000:3b:00.1"]);
        let names: Vec<_> = names(bond).collect();
        assert_eq!(names, ["net_bonding0", "0000:3b:00.0", "0000:3b:00.1"]);
        for (wrong, why) in [
            ("net_bonding0", "needs members"),
            ("net_bonding0,mode=1", "needs members"),
            ("net_bonding0,mode=1,members=3b:00.0", "needs members"),
            ("net_bonding0,mode=1,member", "needs members"),
            ("net_bonding0,mode=1,member=", "not \"\""),
            ("net_bonding0,mode=1,member=3b:00.0,slave=net_null0", "not \"net_null0\""),
        ] {
            assert!(read(wrong).unwrap_err().contains(why), "{wrong}");
        }
    }
}
