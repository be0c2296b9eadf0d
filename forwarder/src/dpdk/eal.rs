//! DPDK's environment abstraction layer, the EAL: started once in a process, and cleaned up with
//! its last handle.
//!
//! A pool must not be freed while any of its mbufs is out, and a [`super::Burst`] does not know its
//! pools. So dropping the last handle of a pool only *retires* the pool here. A retired pool is
//! freed when all its mbufs are back. The EAL is not cleaned up before that, so bursts may outlive
//! everything.
//!
//! The count of mbufs is exact only while no registered thread can move any between its cache and
//! the pool. So mbufs are counted when no thread is registered (see [`Registration`]).

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, OsStr, c_char, c_int};
use std::marker::PhantomData;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

use dpdk_sys as sys;
use parking_lot::Mutex;
use rustix::process::{Pid, test_kill_process};

use super::bond;
use super::error::{Errno, Error, Result, check};

/// How far the EAL of this process is. It can be started once, and not again after its clean-up.
static STAGE: AtomicU8 = AtomicU8::new(UNUSED);
const UNUSED: u8 = 0;
const STARTED: u8 = 1;
const CLEANED_UP: u8 = 2;

/// A handle of the running EAL. Everything made with the EAL holds a handle; dropping the last one
/// cleans the EAL up.
#[derive(Clone, Debug)]
pub struct Eal(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Ports with an owner.
    claimed: BTreeSet<u16>,
    /// The number of registered threads, each of which has a cache in each pool.
    registered: usize,
    /// Pools without a handle, whose mbufs are not yet all back.
    retired: Vec<Retired>,
}

#[derive(Debug)]
struct Retired(NonNull<sys::rte_mempool>);

// SAFETY: a mempool is shared memory without thread affinity, and this is its only handle.
unsafe impl Send for Retired {}

impl Eal {
    /// Starts the EAL with command-line arguments. `program` is the name in its messages.
    ///
    /// The EAL starts on a thread of its own, which ends after that. The EAL pins its caller to the
    /// main lcore's CPU, and every thread started later would inherit that. DPDK keeps pointers
    /// into the arguments, so they are leaked, once.
    pub fn init(program: &str, args: &[String]) -> Result<Eal> {
        let argv = std::iter::once(program)
            .chain(args.iter().map(String::as_str))
            .map(|argument| c_string("the EAL argument", argument))
            .collect::<Result<Vec<_>>>()?;
        let hugepages = !args.iter().any(|argument| argument == "--no-huge");
        let failed = move |errno| Error::Init { errno, hugepages };
        let argc = c_int::try_from(argv.len()).map_err(|_| failed(Errno(Errno::EINVAL)))?;
        if STAGE.compare_exchange(UNUSED, STARTED, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            return Err(Error::AlreadyInitialised);
        }

        let thread = thread::Builder::new().name("eal-init".into()).spawn(move || {
            let mut argv: Vec<*mut c_char> = argv.into_iter().map(CString::into_raw).collect();
            argv.push(ptr::null_mut());
            // SAFETY: called once in the process, as `STAGE` ensures; `argv` has `argc` C strings
            // and a null, all leaked.
            let result = unsafe { sys::rte_eal_init(argc, argv.leak().as_mut_ptr()) };
            if result < 0 { Err(failed(Errno::last())) } else { Ok(()) }
        });
        let thread = thread.map_err(|source| {
            STAGE.store(UNUSED, Ordering::SeqCst);
            Error::Thread { name: "eal-init".into(), source }
        })?;
        match thread.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let _ = std::fs::remove_dir(runtime_directory());
                return Err(error);
            }
            Err(panic) => std::panic::resume_unwind(panic),
        }
        Ok(Eal(Arc::new(Inner { state: Mutex::default() })))
    }

    /// The version of the linked DPDK, such as `DPDK 22.11.11`.
    pub fn dpdk_version(&self) -> String {
        // SAFETY: returns a constant string.
        let version = unsafe { sys::rte_version() };
        // SAFETY: a constant C string.
        unsafe { CStr::from_ptr(version) }.to_string_lossy().into_owned()
    }

    /// Removes the empty run-time directories of processes that were killed. A directory's name is
    /// `prefix` and a process id. Directories that hold a file stay, and so do those of running
    /// processes.
    pub fn remove_stale_directories(&self, prefix: &str) {
        if let Some(parent) = runtime_directory().parent() {
            remove_stale(parent, prefix);
        }
    }

    /// Adds a device while the EAL runs: `net_null0`, a PCI address with its options, or a bond as
    /// [`bond::spelled`] takes it.
    ///
    /// DPDK allows one call at a time.
    pub fn probe(&self, device: &str) -> Result<()> {
        let devargs = c_string("the device", &bond::spelled(device))?;
        let _one_at_a_time = self.0.state.lock();
        // SAFETY: a C string that DPDK copies; the EAL runs while `self` exists.
        check(unsafe { sys::rte_dev_probe(devargs.as_ptr()) }).map_err(|errno| Error::Device {
            device: device.to_owned(),
            action: "add it".to_owned(),
            errno,
        })?;
        Ok(())
    }

    /// Claims a port for the caller. Returns false if the port has an owner.
    pub(super) fn claim(&self, id: u16) -> bool {
        self.0.state.lock().claimed.insert(id)
    }

    /// Gives a port back after `close` has closed it.
    pub(super) fn release_port(&self, id: u16, close: impl FnOnce()) {
        let mut state = self.0.state.lock();
        close();
        state.claimed.remove(&id);
    }

    /// The ports that nobody has claimed.
    pub(super) fn unclaimed(&self) -> Vec<u16> {
        let state = self.0.state.lock();
        ports().filter(|id| !state.claimed.contains(id)).collect()
    }

    /// Frees the retired pools whose mbufs are all back.
    pub(super) fn free_retired(&self) {
        self.0.state.lock().free_retired();
    }

    /// Retires a pool whose last handle is gone.
    pub(super) fn retire(&self, pool: NonNull<sys::rte_mempool>) {
        let mut state = self.0.state.lock();
        state.retired.push(Retired(pool));
        state.free_retired();
    }

    /// Registers this thread as an lcore, which has a cache in each pool.
    pub(super) fn register_thread(&self) -> std::result::Result<Registration, Errno> {
        let mut state = self.0.state.lock();
        // SAFETY: the EAL runs while `self` exists. The thread is not registered yet: only
        // `lcore::spawn` calls this, once on each new thread.
        if unsafe { sys::rte_thread_register() } < 0 {
            return Err(Errno::last());
        }
        state.registered += 1;
        Ok(Registration { eal: self.clone(), _this_thread: PhantomData })
    }
}

/// Keeps this thread registered as an lcore of DPDK.
pub(super) struct Registration {
    eal: Eal,
    /// Not `Send`: a thread must unregister itself.
    _this_thread: PhantomData<*const ()>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut state = self.eal.0.state.lock();
        // SAFETY: this thread is registered while `self` exists; mbufs in its caches stay in the
        // pools.
        unsafe { sys::rte_thread_unregister() };
        state.registered -= 1;
        state.free_retired();
    }
}

impl State {
    /// Frees the retired pools whose mbufs are all back.
    fn free_retired(&mut self) {
        if self.registered > 0 {
            return;
        }
        self.retired.retain(|Retired(pool)| {
            // SAFETY: a retired pool is valid until it is freed here and leaves the list.
            let in_use = unsafe { sys::rte_mempool_in_use_count(pool.as_ptr()) };
            if in_use == 0 {
                // SAFETY: no handle of the pool is left, so nobody can take an mbuf of it, and none
                // is out. The count is exact, because no thread with a cache is registered. Without
                // a cache, an mbuf that returns counts as out until it is back.
                unsafe { sys::rte_mempool_free(pool.as_ptr()) };
            }
            in_use > 0
        });
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        state.free_retired();
        if !state.retired.is_empty() {
            tracing::warn!("packets are still in use: DPDK's memory is not freed");
            return;
        }
        let directory = runtime_directory();
        // SAFETY: the EAL runs and nothing uses it. Ports, pools, rings and registered threads hold
        // a handle, and this was the last. Every mbuf is back, as just counted.
        unsafe { sys::rte_eal_cleanup() };
        STAGE.store(CLEANED_UP, Ordering::SeqCst);
        // DPDK leaves the directory behind. An empty one (`--no-shconf`, `--in-memory`) would stay
        // from every process that ever ran. One that holds files is not removed, which is right.
        let _ = std::fs::remove_dir(directory);
    }
}

/// The directory of the running EAL's files.
fn runtime_directory() -> PathBuf {
    // SAFETY: returns a C string that lasts as long as the process.
    let directory = unsafe { sys::rte_eal_get_runtime_dir() };
    // SAFETY: a C string that lasts as long as the process.
    let directory = unsafe { CStr::from_ptr(directory) };
    OsStr::from_bytes(directory.to_bytes()).into()
}

/// Removes the empty directories in `parent` whose name is `prefix` and the id of no process.
fn remove_stale(parent: &Path, prefix: &str) {
    let Ok(entries) = std::fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let id = name.to_str().and_then(|name| name.strip_prefix(prefix));
        let Some(pid) = id.and_then(|id| id.parse().ok()).and_then(Pid::from_raw) else { continue };
        if test_kill_process(pid) == Err(rustix::io::Errno::SRCH) {
            // Fails, as it should, if the directory holds something.
            let _ = std::fs::remove_dir(entry.path());
        }
    }
}

/// Converts `text` to a C string. `what` names it in the error.
pub(super) fn c_string(what: &'static str, text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::ZeroByte { what, value: text.to_owned() })
}

/// All ports of DPDK.
pub(super) fn ports() -> impl Iterator<Item = u16> {
    let mut next = 0;
    std::iter::from_fn(move || {
        // SAFETY: takes any number; returns the next valid port, or `RTE_MAX_ETHPORTS`.
        let id = unsafe { sys::rte_eth_find_next(next) };
        next = id.saturating_add(1);
        (u32::from(id) < sys::RTE_MAX_ETHPORTS).then_some(id)
    })
}

#[cfg(test)]
mod tests;
