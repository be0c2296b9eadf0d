//! The thread `bird`: what is wanted becomes BIRD's configuration, and BIRD's sessions become reports.

use std::io;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use guideway_api::BgpDetails;

use super::{Plan, Report};

/// How long [`Handle::show`] waits for the thread.
const PATIENCE: Duration = Duration::from_secs(2);

/// The running thread. Dropping the handle ends it, and leaves BIRD running.
#[derive(Debug)]
pub struct Handle {
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

/// What others want of the thread.
#[derive(Debug)]
enum Order {
    Want(Option<Box<Plan>>),
    Show { peer: String, answer: Sender<Result<BgpDetails, String>> },
}

/// Starts to configure and to watch BIRD. Nothing is written or asked before the first [`Handle::want`].
///
/// # Errors
/// If the operating system refuses a thread.
pub fn start(report: impl Fn(Report) + Send + 'static) -> io::Result<Handle> {
    let (orders, received) = unbounded();
    let thread =
        thread::Builder::new().name("bird".into()).spawn(move || run(&received, &report))?;
    Ok(Handle { orders: Some(orders), thread: Some(thread) })
}

impl Handle {
    /// Has BIRD run by this plan; without one, BIRD is left alone. Never waits; the newest wish counts.
    pub fn want(&self, plan: Option<Plan>) {
        self.order(Order::Want(plan.map(Box::new)));
    }

    /// Asks BIRD about a peer. Waits up to 2 s.
    ///
    /// # Errors
    /// Why there is no answer, in words.
    pub fn show(&self, peer: &str) -> Result<BgpDetails, String> {
        let (answer, answered) = bounded(1);
        self.order(Order::Show { peer: peer.to_owned(), answer });
        match answered.recv_timeout(PATIENCE) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => Err("BIRD does not answer in time".to_owned()),
            Err(RecvTimeoutError::Disconnected) => Err("the controller stops".to_owned()),
        }
    }

    fn order(&self, order: Order) {
        // The thread is gone only if it panicked, which is logged when the handle is dropped.
        let _ = self.orders.as_ref().map(|orders| orders.send(order));
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

fn run(orders: &Receiver<Order>, _report: &impl Fn(Report)) {
    while let Ok(order) = orders.recv() {
        match order {
            Order::Want(plan) => drop(plan),
            Order::Show { peer, answer } => {
                let _ = answer.send(Err(format!("{peer}: BIRD is not configured yet")));
            }
        }
    }
}
