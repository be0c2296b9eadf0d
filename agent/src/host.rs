//! The host's side: the TUN device and the virtual addresses on the loopback.
//!
//! What is made here is taken away again on drop. A device that is not persistent vanishes with its
//! descriptor, whatever ends the process; an address that we added to the loopback goes with the
//! [`Vip`], and stays if the process is killed outright. Addresses are set with the `ip` command,
//! so that an operator sees in the process list and in errors exactly what they would have typed.

use std::fs;
use std::net::IpAddr;
use std::process::Command;

use anyhow::{Context, Result, bail};
use guideway_output::Queue;
use tun_rs::{DeviceBuilder, SyncDevice};

/// The TUN device `name`, up, whose packets are believed whatever their source.
pub(crate) fn tun(name: &str, mtu: u16) -> Result<SyncDevice> {
    let device =
        DeviceBuilder::new().name(name).mtu(mtu).enable(true).build_sync().with_context(|| {
            format!(
                "cannot make the TUN device {name}: it needs root or CAP_NET_ADMIN, /dev/net/tun \
                 (`modprobe tun`), and no other device of that name"
            )
        })?;
    // Clients are reached by another device than the one that their packets come from.
    let own = format!("/proc/sys/net/ipv4/conf/{name}/rp_filter");
    fs::write(&own, "0").with_context(|| format!("cannot write 0 to {own}"))?;
    Ok(device)
}

/// What would make the kernel drop inner packets in silence, said so that it can be put right.
pub(crate) fn warning(name: &str) -> Option<String> {
    // The stricter of the device's own value and that of `all` counts.
    let all = fs::read_to_string("/proc/sys/net/ipv4/conf/all/rp_filter").ok()?;
    (all.trim() != "0").then(|| {
        format!(
            "net.ipv4.conf.all.rp_filter is {}, so the kernel drops IPv4 packets from {name} whose \
             source is reached another way; run `sysctl -w net.ipv4.conf.all.rp_filter=0` and set \
             it on each device that needs it",
            all.trim()
        )
    })
}

/// A virtual address on the loopback.
pub(crate) struct Vip {
    /// The address.
    pub(crate) address: IpAddr,
    added: bool,
    errors: Queue,
}

impl Vip {
    /// Adds `address`, unless the host has it there already; then it stays afterwards, too.
    pub(crate) fn add(address: IpAddr, errors: &Queue) -> Result<Self> {
        let prefix = prefix(address);
        let listed = ip(&["-o", "address", "show", "dev", "lo", "to", &prefix])?;
        let added = listed.is_empty();
        if added {
            let mut arguments = vec!["address", "add", &prefix, "dev", "lo"];
            if address.is_ipv6() {
                arguments.push("nodad");
            }
            ip(&arguments)?;
        }
        Ok(Vip { address, added, errors: errors.clone() })
    }
}

impl Drop for Vip {
    fn drop(&mut self) {
        if self.added
            && let Err(error) = ip(&["address", "del", &prefix(self.address), "dev", "lo"])
        {
            self.errors.offer(format!("guideway-agent: {error:#}\n").as_bytes());
        }
    }
}

fn prefix(address: IpAddr) -> String {
    format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })
}

/// Runs `ip` and returns what it printed.
fn ip(arguments: &[&str]) -> Result<String> {
    let command = format!("ip {}", arguments.join(" "));
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .with_context(|| format!("cannot run `{command}`; it is in the package iproute2"))?;
    if !output.status.success() {
        bail!("`{command}` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
