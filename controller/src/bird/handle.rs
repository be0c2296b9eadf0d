//! The handle of the thread `bird`.
//!
//! [`Handle::show`] asks BIRD on the caller's thread and by a connection of its own, so that neither a large reply nor
//! a slow caller holds the thread up.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Sender, unbounded};
use guideway_api::{BgpDetails, BgpState};
use parking_lot::Mutex;

use super::apply::Place;
use super::configuration::session;
use super::control::Control;
use super::status;
use super::thread::{Known, Work};
use super::{Plan, Report};

/// The running thread. Dropping the handle ends it, and leaves BIRD running.
#[derive(Debug)]
pub struct Handle {
    orders: Option<Sender<Option<Box<Plan>>>>,
    known: Arc<Mutex<Option<Known>>>,
    thread: Option<JoinHandle<()>>,
}

/// Starts to configure and to watch BIRD. Nothing is written or asked before the first [`Handle::want`].
///
/// # Errors
/// If the operating system refuses a thread.
pub fn start(report: impl Fn(Report) + Send + 'static) -> io::Result<Handle> {
    let (orders, received) = unbounded();
    let known = Arc::new(Mutex::new(None));
    let mut work = Work::new(report, Arc::clone(&known));
    let thread = thread::Builder::new().name("bird".into()).spawn(move || work.run(&received))?;
    Ok(Handle { orders: Some(orders), known, thread: Some(thread) })
}

impl Handle {
    /// Has BIRD run by this plan; without one, BIRD is left alone. Never waits; the newest wish counts.
    pub fn want(&self, plan: Option<Plan>) {
        // The thread is gone only if it panicked, which is logged when the handle is dropped.
        let _ = self.orders.as_ref().map(|orders| orders.send(plan.map(Box::new)));
    }

    /// Asks BIRD about a peer. Waits up to some seconds if BIRD stands still.
    ///
    /// # Errors
    /// Why there is no answer, in words.
    pub fn show(&self, peer: &str) -> Result<BgpDetails, String> {
        let known = self.known.lock().clone();
        let Some(Known { plan, peers }) = known else {
            return Err("announce.bgp is not \"managed\"".to_owned());
        };
        let configured = plan.bgp.peers.iter().find(|configured| configured.name == peer);
        let (Some(configured), Some(listed)) =
            (configured, peers.iter().find(|listed| listed.name == peer))
        else {
            return Err(format!("there is no peer {peer}"));
        };
        let mut details = BgpDetails {
            peer: listed.clone(),
            hold_time: u16::try_from(configured.hold_time.as_secs()).unwrap_or(u16::MAX),
            keepalive: u16::try_from(configured.keepalive().as_secs()).unwrap_or(u16::MAX),
            local_address: configured.source,
            sent: Vec::new(),
        };
        let place = Place::new(&plan.bgp.directory, &plan.bgp.program);
        let Ok(mut bird) = Control::open(&place.socket()) else {
            // The session says that BIRD does not answer.
            return Ok(details);
        };
        let name = session(peer);
        let lines = bird.ask(&format!("show protocols all '{name}'")).map_err(|e| e.to_string())?;
        let Some(shown) = status::sessions(&lines).remove(&name) else { return Ok(details) };
        details.hold_time = shown.hold_time.unwrap_or(details.hold_time);
        details.keepalive = shown.keepalive.unwrap_or(details.keepalive);
        details.local_address = shown.source.or(details.local_address);
        if shown.state == Some(BgpState::Established) {
            let command = format!("show route export '{name}' all");
            let lines = bird.ask(&command).map_err(|error| error.to_string())?;
            details.sent = status::routes(&lines, &shown.next_hops);
        }
        Ok(details)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.orders = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of BIRD panicked");
        }
    }
}
