//! The thread `on-link`: keeps virtual addresses on devices, and announces them.
//!
//! It looks four times a second at what was published and at what the kernel has. Nothing waits for it.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use guideway_config::{Configuration, Mac};

use super::frame::announcement;
use super::steps::{Addresses, Device, Place, Step, wanted};
use crate::kernel::View;
use crate::manager::Published;
use guideway_netlink::{Error, Requests};

/// The time between two looks.
const LOOK: Duration = Duration::from_millis(250);
/// The least time between two messages in the log about failures.
const LOGGING: Duration = Duration::from_secs(10);

/// Sends a frame by a port, an index into the ports of the configuration. A frame that cannot be sent is lost.
pub type Send = Box<dyn Fn(usize, Vec<u8>) + std::marker::Send>;

/// The running thread. Dropping the handle stops it; addresses stay until their devices end.
#[derive(Debug)]
pub struct Handle {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Starts the thread. `macs` are the MAC addresses of the ports' devices. The thread's requests go to the network
/// namespace of the caller.
///
/// # Errors
/// If the operating system refuses a thread.
pub fn start(
    macs: Vec<Mac>,
    published: Arc<ArcSwap<Published>>,
    view: Arc<ArcSwap<View>>,
    send: Send,
) -> io::Result<Handle> {
    let (stop, stopped) = bounded(0);
    let mut work = Work {
        macs,
        published,
        view,
        send,
        requests: None,
        addresses: Addresses::default(),
        seen: None,
        logged: None,
    };
    let thread = thread::Builder::new().name("on-link".into()).spawn(move || work.run(&stopped))?;
    Ok(Handle { stop: Some(stop), thread: Some(thread) })
}

impl Drop for Handle {
    fn drop(&mut self) {
        // The thread notices that the sender is gone.
        self.stop = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that keeps virtual addresses on links panicked");
        }
    }
}

struct Work {
    macs: Vec<Mac>,
    published: Arc<ArcSwap<Published>>,
    view: Arc<ArcSwap<View>>,
    send: Send,
    requests: Option<Requests>,
    addresses: Addresses,
    seen: Option<Seen>,
    logged: Option<Instant>,
}

/// What follows from a configuration and a view.
struct Seen {
    configuration: Arc<Configuration>,
    view: Arc<View>,
    devices: Vec<Device>,
    wanted: BTreeMap<IpAddr, Place>,
}

impl Work {
    fn run(&mut self, stopped: &Receiver<()>) {
        while stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            self.look(Instant::now());
        }
    }

    fn look(&mut self, now: Instant) {
        let configuration = Arc::clone(&self.published.load().configuration);
        let view = self.view.load_full();
        let is_seen = |seen: &Seen| {
            Arc::ptr_eq(&seen.configuration, &configuration) && Arc::ptr_eq(&seen.view, &view)
        };
        if !self.seen.as_ref().is_some_and(is_seen) {
            let devices = self.devices(&configuration, &view);
            let wanted = wanted(&configuration.services, &devices);
            self.seen = Some(Seen { configuration, view, devices, wanted });
        }
        let Some(seen) = &self.seen else { return };
        for step in self.addresses.steps(&seen.wanted, &seen.devices, now) {
            self.take(step, now);
        }
    }

    /// The devices that exist.
    fn devices(&self, configuration: &Configuration, view: &View) -> Vec<Device> {
        let device = |seen: &crate::kernel::Interface| {
            let port = configuration.ports.get(seen.link.port)?;
            let mac = port.mac.or(self.macs.get(seen.link.port).copied())?;
            Some(Device {
                place: Place { link: seen.link, index: seen.index?, mac },
                is_up: seen.is_up && seen.has_carrier,
                addresses: seen.addresses.clone(),
            })
        };
        view.interfaces.iter().filter_map(device).collect()
    }

    fn take(&mut self, step: Step, now: Instant) {
        let (what, result) = match step {
            Step::Announce(place, address) => {
                (self.send)(place.link.port, announcement(place.mac, address, place.link.vlan));
                return;
            }
            Step::Add(place, address) => {
                let add =
                    |requests: &mut Requests| requests.add_virtual_address(place.index, address);
                (format!("put the virtual address {address} on a link"), self.request(add))
            }
            Step::Remove(place, address) => {
                let remove =
                    |requests: &mut Requests| requests.remove_address(place.index, address.into());
                (format!("remove the virtual address {address} from a link"), self.request(remove))
            }
        };
        match result {
            Ok(()) => tracing::debug!("could {what}"),
            Err(error) if self.logged.is_none_or(|logged| now - logged >= LOGGING) => {
                self.logged = Some(now);
                tracing::warn!("cannot {what}: {error}");
            }
            Err(_) => {}
        }
    }

    /// Makes a request. A socket that failed is opened again for the next one.
    fn request(
        &mut self,
        request: impl FnOnce(&mut Requests) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut requests = match self.requests.take() {
            Some(requests) => requests,
            None => Requests::open()?,
        };
        let result = request(&mut requests);
        if matches!(result, Ok(()) | Err(Error::Refused(_))) {
            self.requests = Some(requests);
        }
        result
    }
}
