//! What the agent sets up on the host: the TUN device, and virtual addresses on the loopback.
//!
//! Dropping a value undoes its set-up. The TUN device is not persistent: it vanishes with its
//! descriptor, however the process ends. Dropping a [`Vip`] removes an address that the agent
//! added; the address stays if the process is killed with SIGKILL. The agent sets addresses with
//! the `ip` command, so that an operator sees in the process list and in errors the command that
//! they would type.

use std::fs;
use std::net::IpAddr;
use std::process::Command;

use anyhow::{Context, Result, bail};
use guideway_output::Queue;
use tun_rs::{DeviceBuilder, SyncDevice};

/// Creates the TUN device `name`, up, without reverse path filter.
pub(crate) fn tun(name: &str, mtu: u16) -> Result<SyncDevice> {
    let device =
        DeviceBuilder::new().name(name).mtu(mtu).enable(true).build_sync().with_context(|| {
            format!(
                "cannot create the TUN device {name}: this needs root or CAP_NET_ADMIN, /dev/net/tun \
                 (`modprobe tun`), and that no other device has the name"
            )
        })?;
    // Replies to clients leave by another device than the TUN device, so the filter would drop
    // their packets.
    let filter = format!("/proc/sys/net/ipv4/conf/{name}/rp_filter");
    fs::write(&filter, "0").with_context(|| format!("cannot write 0 to {filter}"))?;
    Ok(device)
}

/// A warning if the host's reverse path filter makes the kernel drop inner packets silently.
pub(crate) fn warning(name: &str) -> Option<String> {
    // The kernel uses the stricter of the device's value and that of `all`.
    let all = fs::read_to_string("/proc/sys/net/ipv4/conf/all/rp_filter").ok()?;
    (all.trim() != "0").then(|| {
        format!(
            "net.ipv4.conf.all.rp_filter is {}, so the kernel drops IPv4 packets from {name} whose \
             source it reaches by another device; run `sysctl -w net.ipv4.conf.all.rp_filter=0`, and \
             set rp_filter on each device that needs it",
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
    /// Adds `address`, unless it is there already: then dropping the [`Vip`] leaves it there.
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

/// Runs `ip` and returns its output.
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
