//! Finds the port of a device by its name in DPDK.

use std::ffi::CStr;

use dpdk_sys as sys;

use super::{Port, Probed};
use crate::dpdk::eal::{Eal, c_string, ports};
use crate::dpdk::error::{Error, Result};

impl Eal {
    /// Claims the port of a device: a PCI address, or a `--vdev` argument, whose part before the
    /// first comma is the name.
    pub fn port_by_name(&self, device: &str) -> Result<Port<Probed>> {
        let name = device.split(',').next().unwrap_or(device);
        let id = find_port(name)?.or(find_port(&format!("0000:{name}"))?);
        let id = id.ok_or_else(|| Error::NoDevice {
            device: name.to_owned(),
            present: match port_names() {
                names if names.is_empty() => "none".to_owned(),
                names => names.join(", "),
            },
        })?;
        if !self.claim(id) {
            return Err(Error::DeviceInUse { device: name.to_owned() });
        }
        Ok(Port::claimed(self.clone(), id, port_name(id)))
    }
}

fn find_port(name: &str) -> Result<Option<u16>> {
    let name = c_string("the device", name)?;
    let mut id = 0;
    // SAFETY: a C string and a valid pointer for the result.
    let result = unsafe { sys::rte_eth_dev_get_port_by_name(name.as_ptr(), &raw mut id) };
    Ok((result == 0).then_some(id))
}

fn port_name(id: u16) -> String {
    let mut name = [0_u8; sys::RTE_ETH_NAME_MAX_LEN as usize];
    // SAFETY: the buffer has the length that the call requires; the call writes a C string.
    let result = unsafe { sys::rte_eth_dev_get_name_by_port(id, name.as_mut_ptr().cast()) };
    match CStr::from_bytes_until_nul(&name) {
        Ok(name) if result == 0 => name.to_string_lossy().into_owned(),
        _ => format!("port {id}"),
    }
}

fn port_names() -> Vec<String> {
    ports().map(port_name).collect()
}

#[cfg(test)]
mod tests {
    use crate::dpdk::testing::{eal, unique};

    #[test]
    fn devices_are_found_by_name_and_taken_once() {
        let name = unique("net_null");
        eal().probe(&format!("{name},size=64")).unwrap();
        let port = eal().port_by_name(&format!("{name},size=64")).unwrap();
        let text = eal().port_by_name(&name).unwrap_err().to_string();
        assert!(text.contains(&name) && text.contains("in use by another port"), "{text}");
        drop(port);
        let text = eal().port_by_name(&name).unwrap_err().to_string();
        assert!(text.contains(&format!("no device \"{name}\"")), "closed with its port: {text}");
        assert!(text.contains("Its driver refused it"), "{text}");
        let text = eal().probe("net_nonsense0").unwrap_err().to_string();
        assert!(text.contains("device net_nonsense0: cannot add it"), "{text}");
    }
}
