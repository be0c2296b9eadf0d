//! Errors of the DPDK layer, with advice for the operator.
//!
//! No packet can cause an error: the packet path returns counts.

use std::ffi::CStr;
use std::{fmt, io};

use dpdk_sys as sys;
use rustix::process::{Resource, getrlimit};

/// A result of this layer.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure of DPDK, or a call to it that cannot work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `Eal::init` was called before.
    #[error("DPDK was already initialised in this process; it can be only once")]
    AlreadyInitialised,
    /// An argument that C cannot represent.
    #[error("{what} {value:?} contains a zero byte")]
    ZeroByte {
        /// What the text was for.
        what: &'static str,
        /// The text.
        value: String,
    },
    /// The EAL did not start.
    #[error("DPDK does not start: {errno}; {}. Its own messages, above, say more", init_advice(*.errno, *.hugepages, Limits::of_process()))]
    Init {
        /// DPDK's reason.
        errno: Errno,
        /// The EAL was to use hugepages.
        hugepages: bool,
    },
    /// A configured device does not exist.
    #[error("no device {device:?} (DPDK has: {present}). {}", device_advice(device))]
    NoDevice {
        /// The name looked for.
        device: String,
        /// The devices that DPDK has.
        present: String,
    },
    /// A configured device belongs to another port.
    #[error("the device {device:?} is in use by another port of this process")]
    DeviceInUse {
        /// The device's name.
        device: String,
    },
    /// A device refused a call that it must support.
    #[error("device {device}: cannot {action}: {errno}")]
    Device {
        /// The device's name.
        device: String,
        /// What the device was asked to do.
        action: String,
        /// DPDK's reason.
        errno: Errno,
    },
    /// A device sends packets to receive queues that nobody polls.
    #[error(
        "device {device}: {driver} sends packets to {fed} receive queues, and only {polled} of them are \
         polled, so that it loses the others; give the device {polled} queues (`qpairs`, `queue_count` or `queues` in \
         port.device, or the host's setting of a virtual machine), or change the number of dpdk.workers"
    )]
    Unpolled {
        /// The device's name.
        device: String,
        /// The driver's name.
        driver: String,
        /// Receive queues that get packets.
        fed: u16,
        /// Receive queues that are set up and polled.
        polled: u16,
    },
    /// The pool's buffers are too small for the port's frames.
    #[error(
        "device {device}: {driver} needs buffers of {needed} bytes for an MTU of {mtu}, and can use {usable} \
         bytes of those that there are; lower port.mtu to {} or less",
        u32::from(*.usable).saturating_sub(.needed - u32::from(*.mtu))
    )]
    DataRoom {
        /// The device's name.
        device: String,
        /// The driver's name.
        driver: String,
        /// The configured MTU.
        mtu: u16,
        /// Bytes of the largest frame, with the driver's overhead.
        needed: u32,
        /// Bytes of an mbuf that the driver uses.
        usable: u16,
    },
    /// A device uses several buffers for a frame, which no worker accepts.
    #[error(
        "device {device}: {driver} receives frames of an MTU of {mtu} in several buffers, though each has \
         {room} bytes, and would have them dropped as frame_too_long; lower port.mtu"
    )]
    SeveralBuffers {
        /// The device's name.
        device: String,
        /// The driver's name.
        driver: String,
        /// The port's MTU.
        mtu: u16,
        /// Bytes of an mbuf's data room.
        room: u16,
    },
    /// A pool cannot be made.
    #[error("cannot make the packet pool {name:?} of {mbufs} mbufs: {errno}; {}", pool_advice(*.errno))]
    Pool {
        /// The pool's name.
        name: String,
        /// The number of its mbufs.
        mbufs: u32,
        /// DPDK's reason.
        errno: Errno,
    },
    /// A page is too small for the packets of a pool in pages.
    #[error(
        "cannot make the packet pool {name:?}: net_af_xdp needs each packet in one page of memory, which has \
         no room for {data_room} bytes; lower port.mtu, of all ports, to 3430 or less, or leave out the \
         port of net_af_xdp"
    )]
    PageRoom {
        /// The pool's name.
        name: String,
        /// Bytes that a frame may take.
        data_room: u16,
    },
    /// A pool that a driver registers as one piece of memory lies in several pieces.
    #[error(
        "the packet pool {name:?} of {mbufs} mbufs is not in one piece of memory, as net_af_xdp needs it: the \
         kernel would lose {outside} of them; raise dpdk.memory, or reserve more hugepages (after a \
         reboot, when memory is whole), or lower rx_descriptors"
    )]
    Scattered {
        /// The pool's name.
        name: String,
        /// The number of its mbufs.
        mbufs: u32,
        /// Mbufs that the driver cannot reach.
        outside: u32,
    },
    /// A ring cannot be made.
    #[error("cannot make the ring {name:?} of {size} slots: {errno}; {}", ring_advice(*.errno))]
    Ring {
        /// The ring's name.
        name: String,
        /// The ring's size.
        size: u32,
        /// DPDK's reason.
        errno: Errno,
    },
    /// A thread cannot run on the CPU to which it is pinned.
    #[error("thread {name}: cannot run on CPU {cpu}; this process may use CPUs {allowed}")]
    Cpu {
        /// The thread's name.
        name: String,
        /// The configured CPU.
        cpu: u16,
        /// The CPUs that the process may use, as a list of ranges.
        allowed: String,
    },
    /// A thread cannot be started.
    #[error("cannot start the thread {name}")]
    Thread {
        /// The thread's name.
        name: String,
        /// The operating system's reason.
        source: io::Error,
    },
    /// DPDK does not accept a thread as an lcore.
    #[error(
        "thread {name}: DPDK does not take it as an lcore: {errno}; it has a limited number of them, \
         and none while a secondary DPDK process is attached"
    )]
    Register {
        /// The thread's name.
        name: String,
        /// DPDK's reason.
        errno: Errno,
    },
    /// A thread cannot be woken by a descriptor.
    #[error("cannot be woken by an eventfd: {errno}")]
    Wake {
        /// DPDK's reason.
        errno: Errno,
    },
}

/// An error number of the C library, or one of those that DPDK adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    /// Operation not supported: the result of a call that a device lacks.
    pub const ENOTSUP: Self = Self(95);
    const ENOENT: i32 = 2;
    pub(super) const EAGAIN: i32 = 11;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOMEM: i32 = 12;
    const EACCES: i32 = 13;
    const EEXIST: i32 = 17;
    const ENODEV: i32 = 19;
    pub(super) const E2BIG: i32 = 7;
    pub(super) const EINVAL: i32 = 22;

    /// The error number of this thread's last failed call that reports by `rte_errno`.
    pub(super) fn last() -> Self {
        // SAFETY: reads a variable of this thread.
        Self(unsafe { sys::guideway_errno() })
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: takes any number. Returns a string that is constant or this thread's own until
        // its next call, and never null.
        let text = unsafe { sys::rte_strerror(self.0) };
        // SAFETY: a valid C string, which is copied before the next call.
        let text = unsafe { CStr::from_ptr(text) };
        write!(f, "{} (error {})", text.to_string_lossy(), self.0)
    }
}

/// Converts the result of a call that returns 0 or more, or a negative error number.
pub(super) fn check(result: i32) -> std::result::Result<u32, Errno> {
    // A negative result is an error number.
    u32::try_from(result).map_err(|_| Errno(-result))
}

/// The fewest open files with which DPDK, its drivers and a port can work.
const LEAST_FILES: u64 = 64;

/// The limits that the operating system sets for this process.
#[derive(Clone, Copy)]
struct Limits {
    /// The most files that the process may open.
    open_files: u64,
    /// The most bytes that the process may map, if limited.
    address_space: Option<u64>,
}

impl Limits {
    fn of_process() -> Limits {
        Limits {
            open_files: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
            address_space: getrlimit(Resource::As).current,
        }
    }
}

const ARGUMENT_ADVICE: &str =
    "an argument is wrong or cannot be met here: see `eal_args` and the ports' `device`";
const AGAIN_ADVICE: &str = "VFIO is not ready: load vfio-pci, and see that the IOMMU is on. Or this \
     process may not start another thread: raise the limit (`ulimit -u`, `TasksMax=` of a unit)";

fn init_advice(errno: Errno, hugepages: bool, limits: Limits) -> String {
    // DPDK reports some failures to open a file as an invalid argument.
    if matches!(errno.0, Errno::EMFILE | Errno::ENFILE) || limits.open_files < LEAST_FILES {
        return format!(
            "this process may open {} files, which may be too few: raise the limit \
             (`ulimit -n`, `LimitNOFILE=` of a unit, `fs.file-max` of the system)",
            limits.open_files
        );
    }
    // DPDK reports a driver that cannot be mapped as an invalid argument, and a thread whose stack
    // cannot be mapped as `EAGAIN`.
    if matches!(errno.0, Errno::EINVAL | Errno::EAGAIN)
        && let Some(bytes) = limits.address_space
    {
        return format!(
            "this process may map {} MiB, which may be too little for DPDK's drivers and threads: raise \
             the limit (`ulimit -v`, `LimitAS=` of a unit). Else {}",
            bytes >> 20,
            if errno.0 == Errno::EINVAL { ARGUMENT_ADVICE } else { AGAIN_ADVICE }
        );
    }
    let advice = match errno.0 {
        Errno::ENOMEM if !hugepages => {
            "it runs without hugepages and did not get its memory: raise the limit of this process \
             (`ulimit -v`, `LimitAS=` and `MemoryMax=` of a unit), or lower `dpdk.memory`"
        }
        Errno::EACCES if !hugepages => {
            "this process lacks a right that DPDK or a driver needs: run it as root, or with the \
             capabilities of packaging/guideway.service"
        }
        Errno::EACCES | Errno::ENOMEM => {
            "it needs hugepages and the right to use them: reserve some \
             (`echo 512 > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages`, as root), \
             or set `hugepages = false` for a trial without. A limit of this process's memory \
             (`ulimit -v`, `LimitAS=` of a unit) has the same effect"
        }
        Errno::EINVAL => ARGUMENT_ADVICE,
        Errno::ENODEV | 95 => "a device cannot be used: see each port's `device`",
        Errno::EAGAIN => AGAIN_ADVICE,
        _ => {
            "another process may use the same file prefix, or the directory for run-time files cannot be written"
        }
    };
    advice.to_owned()
}

/// Advice about a device that does not exist. EAL logs why a virtual device failed, and continues.
fn device_advice(device: &str) -> &'static str {
    if device.starts_with("net_") {
        "Its driver refused it, and DPDK's own messages, above, say why. Check the arguments in the \
         port's `device`, that an interface named there exists in this network namespace, and that \
         this process has the rights for it"
    } else {
        "A PCI device must be bound to a driver that DPDK can use: see `dpdk-devbind.py --status`; a \
         virtual one is named like `net_af_packet0,iface=eth0`"
    }
}

fn pool_advice(errno: Errno) -> &'static str {
    match errno.0 {
        Errno::ENOMEM => {
            "DPDK has too little memory: reserve more hugepages, or raise `dpdk.memory` where it runs without"
        }
        Errno::EEXIST => "the name is taken",
        Errno::EINVAL => {
            "a pool has at least 1.5 times the mbufs of its cache, and a cache of at most 512"
        }
        Errno::ENOENT => "DPDK's mempool driver is not installed (librte_mempool_ring)",
        _ => "a name has at most 25 bytes",
    }
}

fn ring_advice(errno: Errno) -> &'static str {
    match errno.0 {
        Errno::ENOMEM => {
            "DPDK has too little memory: reserve more hugepages, or raise `dpdk.memory` where it runs without"
        }
        Errno::EEXIST => "the name is taken",
        Errno::EINVAL => "the size must be a power of two",
        _ => "a name has at most 28 bytes",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_a_count_or_an_errno() {
        assert_eq!(check(0), Ok(0));
        assert_eq!(check(7), Ok(7));
        assert_eq!(check(-95), Err(Errno::ENOTSUP));
    }

    #[test]
    fn messages_say_what_to_do() {
        let text = Error::Init { errno: Errno(Errno::EACCES), hugepages: true }.to_string();
        assert!(text.contains("Permission denied (error 13)"), "{text}");
        assert!(text.contains("hugepages = false"), "{text}");
        let text =
            Error::Pool { name: "p".into(), mbufs: 1, errno: Errno(Errno::ENOMEM) }.to_string();
        assert!(text.contains("raise `dpdk.memory`"), "{text}");
    }

    #[test]
    fn advice_about_a_start_fits_the_options() {
        let memory = Errno(Errno::ENOMEM);
        let ample = Limits { open_files: 1024, address_space: None };
        assert!(init_advice(memory, true, ample).contains("hugepages = false"));
        let without = init_advice(memory, false, ample);
        assert!(without.contains("ulimit -v") && !without.contains("hugepages = false"));
        for errno in [Errno::EMFILE, Errno::ENFILE] {
            let files = init_advice(Errno(errno), false, ample);
            assert!(files.contains("ulimit -n") && !files.contains("prefix"), "{files}");
        }
        // DPDK's error if it cannot open the directory of its drivers.
        assert!(
            init_advice(Errno(Errno::EINVAL), false, Limits { open_files: 8, ..ample })
                .contains("may open 8 files")
        );
        assert!(init_advice(Errno(Errno::EINVAL), false, ample).contains("eal_args"));
        // DPDK's errors if it cannot map a driver or a thread's stack.
        let narrow = Limits { address_space: Some(200 << 20), ..ample };
        for errno in [Errno::EINVAL, Errno::EAGAIN] {
            let mapped = init_advice(Errno(errno), false, narrow);
            assert!(mapped.contains("may map 200 MiB"), "{mapped}");
        }
        // DPDK's error if it cannot start a thread.
        assert!(init_advice(Errno(Errno::EAGAIN), false, ample).contains("ulimit -u"));
    }

    #[test]
    fn advice_about_a_device_fits_its_kind() {
        let pci = device_advice("0000:3b:00.0");
        assert!(pci.contains("dpdk-devbind.py"), "{pci}");
        let vdev = device_advice("net_af_packet0");
        assert!(vdev.contains("interface") && !vdev.contains("bound"), "{vdev}");
    }
}
