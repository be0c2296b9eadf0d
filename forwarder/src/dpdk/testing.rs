//! What the tests of this layer share: one EAL for the process, without hugepages or a NIC, and
//! virtual devices.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{CpuSet, sched_getaffinity};

use super::port::{Port, Probed, Settings};
use super::{Burst, Eal, Mempool};

/// Bytes for a frame of the usual MTU, as NICs need them.
pub(super) const DATA_ROOM: u16 = 2048;

/// The arguments of an EAL that disturbs no other and needs only root.
///
/// `prefix` names its directory for run-time files. An EAL that is cleaned up removes the
/// directory, so it needs one of its own: [`own_prefix`].
pub(super) fn eal_args(prefix: &str) -> Vec<String> {
    let cpus = sched_getaffinity(None).unwrap();
    let cpu = (0..CpuSet::MAX_CPU).find(|&cpu| cpus.is_set(cpu)).unwrap();
    let prefix = format!("--file-prefix={prefix}");
    let lcores = format!("--lcores=0@{cpu}");
    let fixed = [
        "--no-huge",
        "--no-pci",
        "--no-shconf",
        "--no-telemetry",
        "-m",
        "256",
        "--log-level=error",
    ];
    fixed.iter().map(|arg| (*arg).to_owned()).chain([lcores, prefix]).collect()
}

/// A file prefix for an EAL that is cleaned up.
pub(super) fn own_prefix() -> String {
    format!("guideway-test-{}", process::id())
}

/// The EAL of all tests in this process. It is never cleaned up: tests of the clean-up have
/// processes of their own.
pub(crate) fn eal() -> &'static Eal {
    static EAL: OnceLock<Eal> = OnceLock::new();
    EAL.get_or_init(|| Eal::init("test", &eal_args("guideway-test")).unwrap())
}

/// `prefix` with a number that no other test has.
pub(crate) fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A pool for one test, without caches, so that `in_use` is exact on every thread.
pub(crate) fn pool(mbufs: u32) -> Mempool {
    Mempool::new(eal(), &unique("pool"), mbufs, DATA_ROOM, 0, None).unwrap()
}

/// A virtual device for one test: `driver`, a number, and `options` with their comma.
pub(super) fn device(driver: &str, options: &str) -> Port<Probed> {
    let device = format!("{}{options}", unique(driver));
    eal().probe(&device).unwrap();
    eal().port_by_name(&device).unwrap()
}

/// One receive and one transmit queue.
pub(super) fn settings() -> Settings {
    Settings {
        rx_queues: 1,
        control_queue: false,
        tx_queues: 1,
        rx_descriptors: 256,
        tx_descriptors: 256,
        mtu: 1500,
        mac: None,
        rss: false,
        interrupts: false,
        fast_free: false,
    }
}

/// A burst of `n` packets. Packet i has i + 1 bytes, each of value i.
pub(crate) fn packets(pool: &Mempool, n: u8) -> Burst {
    let mut burst = Burst::new();
    assert_eq!(pool.allocate(&mut burst, n.into()), usize::from(n));
    for i in 0..n {
        burst.get_mut(i.into()).unwrap().append(usize::from(i) + 1).unwrap().fill(i);
    }
    burst
}
/// The first byte of each packet.
pub(super) fn marks(burst: &Burst) -> Vec<u8> {
    burst.iter().map(|mbuf| mbuf.bytes()[0]).collect()
}

/// Runs `body` in a process of its own. `test` is the path of the calling test.
///
/// For tests of what can be done once in a process, or of the EAL itself: the test runs its own
/// binary again, for this one test.
pub(super) fn in_own_process(test: &str, body: impl FnOnce()) {
    const CHILD: &str = "GUIDEWAY_TEST_CHILD";
    if env::var(CHILD).is_ok_and(|child| child == test) {
        return body();
    }
    let child = Command::new(env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(CHILD, test)
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&child.stdout);
    let stderr = String::from_utf8_lossy(&child.stderr);
    // The count distinguishes a wrong path, which runs no test, from a success.
    let passed = child.status.success() && stdout.contains("1 passed");
    assert!(passed, "{}\n{stdout}\n{stderr}", child.status);
}

/// Writes a capture file with a frame for each of `frames`: the time of its receipt in
/// microseconds, and its bytes. The format is libpcap's classic one, little-endian, for Ethernet.
pub(super) fn capture(directory: &Path, frames: &[(u64, &[u8])]) -> PathBuf {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65535, 1] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    for (time, bytes) in frames {
        let length = bytes.len() as u64;
        for word in [time / 1_000_000, time % 1_000_000, length, length] {
            file.extend_from_slice(&u32::try_from(word).unwrap().to_le_bytes());
        }
        file.extend_from_slice(bytes);
    }
    let path = directory.join("in.pcap");
    std::fs::write(&path, file).unwrap();
    path
}
