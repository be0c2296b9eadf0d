//! What the tests of this layer share: one EAL for the process, without hugepages or a NIC, and
//! virtual devices added as they are needed.

use std::process;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{CpuSet, sched_getaffinity};

use super::port::{Port, Probed, Settings};
use super::{Burst, Eal, Pool};

/// Room for a frame of the common MTU, as NICs want it.
pub(super) const DATA_ROOM: u16 = 2048;

/// The arguments of an EAL that disturbs no other and needs nothing but root.
pub(super) fn eal_args(name: &str) -> Vec<String> {
    let cpus = sched_getaffinity(None).unwrap();
    let cpu = (0..CpuSet::MAX_CPU).find(|&cpu| cpus.is_set(cpu)).unwrap();
    let prefix = format!("--file-prefix=guideway-{name}-{}", process::id());
    let lcores = format!("--lcores=0@{cpu}");
    let fixed = ["--no-huge", "--no-pci", "--no-shconf", "--no-telemetry", "-m", "256"];
    fixed.iter().map(|arg| (*arg).to_owned()).chain([lcores, prefix]).collect()
}

/// The EAL of all tests in this process. Never cleaned up: a test of that has a process of its own.
pub(super) fn eal() -> &'static Eal {
    static EAL: OnceLock<Eal> = OnceLock::new();
    EAL.get_or_init(|| Eal::init("test", &eal_args("test")).unwrap())
}

/// `prefix` with a number that no other test has.
pub(super) fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A pool of a test's own, without caches: `in_use` is then exact on every thread.
pub(super) fn pool(mbufs: u32) -> Pool {
    Pool::new(eal(), &unique("pool"), mbufs, DATA_ROOM, 0, None).unwrap()
}

/// A virtual device of a test's own: `driver`, a number, and `options` with their comma.
pub(super) fn device(driver: &str, options: &str) -> Port<Probed> {
    let device = format!("{}{options}", unique(driver));
    eal().probe(&device).unwrap();
    eal().port_by_name(&device).unwrap()
}

/// One queue each way.
pub(super) fn settings() -> Settings {
    Settings {
        rx_queues: 1,
        tx_queues: 1,
        rx_descriptors: 256,
        tx_descriptors: 256,
        mtu: 1500,
        mac: None,
        rss: false,
        fast_free: false,
    }
}

/// A burst of `n` packets, the one at place i having i + 1 bytes, all of them i.
pub(super) fn packets(pool: &Pool, n: u8) -> Burst {
    let mut burst = Burst::new();
    assert_eq!(pool.allocate(&mut burst, n.into()), usize::from(n));
    for i in 0..n {
        burst.get_mut(i.into()).unwrap().append(usize::from(i) + 1).unwrap().fill(i);
    }
    burst
}
