//! The thread `kernel`: carries frames between the workers and the interfaces of the ports.
//!
//! Each turn writes one burst of the first class that has any, of one worker, and reads at most one
//! burst of each interface. So a session of a routing protocol waits for no more than the burst under
//! way, and neither direction waits for the other. Without work the thread sleeps until an interface
//! has a frame or a worker rings.
//!
//! Frames that the daemon itself sends, such as announcements of addresses, leave as those of the kernel do.
//!
//! Packets of the node's probes come from a device of their own, which may come and go at run time. They are IP packets, and go
//! to a worker that finds their backend by their pin. An Ethernet header is put before them, as every frame has one there.
//!
//! The thread reads an interface only as far as the ring to the port's worker has room. The rest waits
//! in the kernel, whose senders notice.

use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tracing::error;
use tun_rs::SyncDevice;

use super::capture;
use super::counters::{Counters, add};
use super::doorbell::Doorbell;
use crate::dpdk::{
    BURST, Burst, Eal, Mbuf, Mempool, OwnedMbuf, Result, TimestampField, lcore, ring,
};
use guideway_core::balancer::frame::Allocator;
use guideway_core::balancer::id::PortIndex;
use guideway_core::balancer::pin::Outcome;
use guideway_core::wire::ethernet;
use guideway_management::daemon::Probing;

/// The shortest Ethernet frame without its checksum. The kernel leaves it to a driver to lengthen
/// shorter ones, and not every driver of DPDK does.
const SHORTEST: usize = 60;
/// Frames of the daemon that may wait.
const FRAMES: usize = 1024;
/// How long the thread sleeps while a ring to a worker has no room.
const PATIENCE: Duration = Duration::from_millis(1);

/// Writes on a frame by which port it came.
pub(crate) fn mark(mbuf: &mut Mbuf, port: PortIndex) {
    mbuf.set_metadata([port.0.into(), 0]);
}

/// The port that [`mark`] wrote.
fn port_of(mbuf: &Mbuf) -> Option<usize> {
    let [port, _] = mbuf.metadata()?;
    usize::try_from(port).ok()
}

/// Where the frames of a port go.
pub(crate) enum Sink {
    /// Nowhere.
    Nothing,
    /// To its interface.
    Interface(Arc<SyncDevice>),
    /// To a file.
    Capture(capture::Writer),
    /// Nowhere: the lane of probes. It has the device that they come from, if there is one now, and their counters.
    Probes(Option<Arc<SyncDevice>>, Arc<Probing>),
}

impl Sink {
    /// The device that the kernel sends by.
    fn device(&self) -> Option<&SyncDevice> {
        match self {
            Sink::Interface(device) => Some(device),
            Sink::Probes(device, _) => device.as_deref(),
            Sink::Nothing | Sink::Capture(_) => None,
        }
    }

    /// The length of the header that has to be put before what the device gives.
    fn missing_header(&self) -> usize {
        if matches!(self, Sink::Probes(..)) { ethernet::LENGTH } else { 0 }
    }
}

/// How what the kernel sends by a port gets there.
pub(crate) struct Way {
    /// The ring to the worker that sends.
    pub(crate) ring: ring::Sender,
    /// That worker's pool.
    pub(crate) pool: Mempool,
    /// Wakes that worker.
    pub(crate) doorbell: Arc<Doorbell>,
}

/// A port, as the thread sees it.
pub(crate) struct Lane {
    pub(crate) sink: Sink,
    pub(crate) counters: Arc<Counters>,
    /// `None` if the kernel sends nothing by the port.
    pub(crate) way: Option<Way>,
}

/// Gives the thread the device of the probes.
pub(crate) struct ProbeDevices {
    sender: Sender<Option<Arc<SyncDevice>>>,
    doorbell: Arc<Doorbell>,
}

impl ProbeDevices {
    /// A way for devices to the thread that `doorbell` wakes, and its end there.
    pub(crate) fn new(
        doorbell: &Arc<Doorbell>,
    ) -> (ProbeDevices, Receiver<Option<Arc<SyncDevice>>>) {
        let (sender, receiver) = unbounded();
        (ProbeDevices { sender, doorbell: Arc::clone(doorbell) }, receiver)
    }

    /// Has the thread read this device from now on, or none. It closes the one before.
    pub(crate) fn put(&self, device: Option<Arc<SyncDevice>>) {
        // A thread that has ended reads none.
        let _ = self.sender.send(device);
        self.doorbell.ring();
    }
}

/// Sends frames of the daemon by ports.
#[derive(Clone)]
pub(crate) struct Frames {
    sender: Sender<(usize, Vec<u8>)>,
    doorbell: Arc<Doorbell>,
}

impl Frames {
    /// A way for frames to the thread that `doorbell` wakes, and its end there.
    pub(crate) fn new(doorbell: &Arc<Doorbell>) -> (Frames, Receiver<(usize, Vec<u8>)>) {
        let (sender, receiver) = bounded(FRAMES);
        (Frames { sender, doorbell: Arc::clone(doorbell) }, receiver)
    }

    /// Sends a frame by a port, which is the lane of this index. The frame is lost if too many wait.
    pub(crate) fn send(&self, port: usize, frame: Vec<u8>) {
        if self.sender.try_send((port, frame)).is_ok() {
            self.doorbell.ring();
        }
    }
}

/// What the thread carries.
pub(crate) struct Courier {
    /// The ports, by their index, and behind them the probes.
    pub(crate) lanes: Vec<Lane>,
    /// The devices of probes.
    pub(crate) devices: Receiver<Option<Arc<SyncDevice>>>,
    /// For each class, in the order in which they are served, the rings of the workers.
    pub(crate) punts: Vec<Vec<ring::Receiver>>,
    /// The frames of the daemon, each with its lane.
    pub(crate) frames: Receiver<(usize, Vec<u8>)>,
    /// Wakes the thread.
    pub(crate) doorbell: Arc<Doorbell>,
    /// Where frames have the time of their receipt, for captures.
    pub(crate) timestamps: Option<TimestampField>,
}

/// The running thread.
pub(crate) struct Handle {
    thread: JoinHandle<io::Result<()>>,
    doorbell: Arc<Doorbell>,
    stop: Arc<AtomicBool>,
}

impl Handle {
    /// Ends the thread once all frames for the kernel are written. Call this when the workers have
    /// ended, before the ports are closed.
    ///
    /// # Errors
    /// A capture could not be written.
    pub(crate) fn stop(self) -> io::Result<()> {
        self.stop.store(true, Ordering::Release);
        self.doorbell.ring_always();
        self.thread.join().unwrap_or_else(|_| {
            error!("the thread that serves the kernel panicked");
            Ok(())
        })
    }
}

impl Courier {
    /// Starts the thread.
    ///
    /// # Errors
    /// DPDK or the operating system refuses it.
    pub(crate) fn start(self, eal: &Eal) -> Result<Handle> {
        let (doorbell, stop) = (Arc::clone(&self.doorbell), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let thread = lcore::spawn(eal, "kernel", None, move || Turns::new(self).run(&stopped))?;
        Ok(Handle { thread, doorbell, stop })
    }
}

/// The thread at work.
struct Turns {
    lanes: Vec<Lane>,
    devices: Receiver<Option<Arc<SyncDevice>>>,
    /// For each lane, a buffer for the next frame that the kernel sends.
    spare: Vec<Option<OwnedMbuf>>,
    punts: Vec<Vec<ring::Receiver>>,
    frames: Receiver<(usize, Vec<u8>)>,
    doorbell: Arc<Doorbell>,
    timestamps: Option<TimestampField>,
    burst: Burst,
    /// The worker whose rings are looked at first, so that none waits for the others.
    first: usize,
    /// The first error of a capture.
    failure: Option<io::Error>,
}

impl Turns {
    fn new(courier: Courier) -> Turns {
        let Courier { lanes, devices, punts, frames, doorbell, timestamps } = courier;
        Turns {
            spare: lanes.iter().map(|_| None).collect(),
            lanes,
            devices,
            punts,
            frames,
            doorbell,
            timestamps,
            burst: Burst::new(),
            first: 0,
            failure: None,
        }
    }

    fn run(mut self, stop: &AtomicBool) -> io::Result<()> {
        let mut is_busy = false;
        while !stop.load(Ordering::Acquire) {
            let readable = self.wait(is_busy);
            is_busy = self.serve();
            is_busy |= self.originate();
            self.take_devices();
            for lane in readable {
                is_busy |= self.collect(lane);
            }
        }
        while self.serve() {}
        self.finish()
    }

    /// Writes out the captures. Returns the first error of them.
    fn finish(&mut self) -> io::Result<()> {
        for lane in &mut self.lanes {
            if let Sink::Capture(capture) = mem::replace(&mut lane.sink, Sink::Nothing) {
                let result = capture.finish();
                self.failure = self.failure.take().or(result.err());
            }
        }
        self.failure.take().map_or(Ok(()), Err)
    }

    /// Waits for work, unless the thread `is_busy`. Returns the lanes whose interfaces have frames for
    /// which there is room.
    fn wait(&mut self, is_busy: bool) -> Vec<usize> {
        let mut timeout = Some(Duration::ZERO);
        if !is_busy {
            self.doorbell.fall_asleep();
            let is_told = !self.frames.is_empty() || !self.devices.is_empty();
            if !is_told && self.punts.iter().flatten().all(ring::Receiver::is_empty) {
                let is_full = |lane: &Lane| lane.sink.device().is_some() && lane.room() == 0;
                timeout = self.lanes.iter().any(is_full).then_some(PATIENCE);
            }
        }
        let ready = |(_, lane): &(usize, &Lane)| lane.sink.device().is_some() && lane.room() > 0;
        let open: Vec<usize> =
            self.lanes.iter().enumerate().filter(ready).map(|(index, _)| index).collect();
        let mut events = vec![PollFd::new(&*self.doorbell, PollFlags::IN)];
        let devices = open.iter().filter_map(|&lane| self.lanes[lane].sink.device());
        events.extend(devices.map(|device| PollFd::new(device, PollFlags::IN)));
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let waited = poll(&mut events, timeout.as_ref());
        self.doorbell.wake();
        if !events[0].revents().is_empty() {
            self.doorbell.silence();
        }
        if waited.is_err_and(|error| error != Errno::INTR) {
            // This is not expected, and must not make a loop that never sleeps.
            thread::sleep(PATIENCE);
        }
        let events: Vec<PollFlags> = events[1..].iter().map(PollFd::revents).collect();
        let mut readable = Vec::new();
        for (lane, events) in open.into_iter().zip(events) {
            if events.intersects(PollFlags::ERR | PollFlags::NVAL) {
                self.lanes[lane].remove();
            } else if !events.is_empty() {
                readable.push(lane);
            }
        }
        readable
    }

    /// Writes one burst of the first class that has any. Returns whether there was one.
    fn serve(&mut self) -> bool {
        for class in &mut self.punts {
            let workers = class.len();
            for offset in 0..workers {
                let worker = (self.first + offset) % workers;
                if class[worker].receive(&mut self.burst) > 0 {
                    self.first = (worker + 1) % workers;
                    self.write();
                    return true;
                }
            }
        }
        false
    }

    /// Writes the burst to where its frames go.
    fn write(&mut self) {
        for mbuf in self.burst.drain() {
            let Some(lane) = port_of(&mbuf).and_then(|port| self.lanes.get_mut(port)) else {
                continue;
            };
            let counters = &lane.counters;
            if !mbuf.is_contiguous() {
                add(&counters.to_refused, 1);
                continue;
            }
            let result = match &mut lane.sink {
                Sink::Nothing | Sink::Probes(..) => Ok(0),
                Sink::Interface(device) => device.send(mbuf.bytes()),
                Sink::Capture(capture) => {
                    let time = self.timestamps.and_then(|field| mbuf.timestamp(&field));
                    capture.write(time.unwrap_or_else(now), mbuf.bytes()).map(|()| 0)
                }
            };
            match result {
                Ok(_) => {
                    add(&counters.to_packets, 1);
                    add(&counters.to_bytes, mbuf.bytes().len() as u64);
                }
                Err(error) => {
                    add(&counters.to_refused, 1);
                    match lane.sink {
                        Sink::Capture(_) => self.failure = self.failure.take().or(Some(error)),
                        _ if is_removed(&error) => lane.remove(),
                        // The interface is set down, or the kernel has no memory.
                        _ => {}
                    }
                }
            }
        }
    }

    /// Sends one frame of the daemon. Returns whether there was one.
    fn originate(&mut self) -> bool {
        let Ok((port, frame)) = self.frames.try_recv() else { return false };
        let way = self.lanes.get_mut(port).and_then(|lane| lane.way.as_mut());
        if let Some(way) = way
            && let Some(mut mbuf) = Allocator::allocate(&way.pool)
        {
            let buffer = mbuf.refill(way.pool.data_room().into()).unwrap_or_default();
            let length = frame.len().max(SHORTEST);
            if length <= buffer.len() {
                buffer[..frame.len()].copy_from_slice(&frame);
                buffer[frame.len()..length].fill(0);
                mbuf.truncate(length);
                // There is room: the burst is empty.
                let _ = self.burst.push(mbuf);
                way.ring.send(&mut self.burst);
                self.burst.clear();
                way.doorbell.ring();
            }
        }
        true
    }

    /// Takes the device that probes come from now.
    fn take_devices(&mut self) {
        while let Ok(given) = self.devices.try_recv() {
            for lane in &mut self.lanes {
                if let Sink::Probes(device, _) = &mut lane.sink {
                    device.clone_from(&given);
                }
            }
        }
    }

    /// Reads a burst of what the kernel sends by a port, or of probes. Returns whether there was anything.
    fn collect(&mut self, index: usize) -> bool {
        let (lane, spare) = (&mut self.lanes[index], &mut self.spare[index]);
        let Lane { sink, counters, way } = lane;
        let (Some(device), Some(way)) = (sink.device(), way) else { return false };
        let missing = sink.missing_header();
        let room = way.ring.room().min(BURST);
        let (mut packets, mut bytes) = (0, 0);
        while packets < room {
            let Some(mut mbuf) = spare.take().or_else(|| Allocator::allocate(&way.pool)) else {
                // The frame is lost: left where it is, it would keep the thread awake.
                let lost = device.recv(&mut [0; 1]).is_ok();
                lose(sink, counters, lost.into());
                break;
            };
            let buffer = mbuf.refill(way.pool.data_room().into()).unwrap_or_default();
            let (longest, missing) = (buffer.len(), missing.min(buffer.len()));
            let length = match device.recv(&mut buffer[missing..]) {
                Ok(length) => missing + length,
                // No more frames for now. If the interface was removed, the next wait says so.
                Err(_) => {
                    *spare = Some(mbuf);
                    break;
                }
            };
            if length == longest {
                // Cut off: somebody has raised the interface's MTU above the port's.
                lose(sink, counters, 1);
                *spare = Some(mbuf);
                continue;
            }
            if missing > 0 {
                put_header(buffer);
            }
            if length < SHORTEST {
                buffer[length..SHORTEST].fill(0);
            }
            mbuf.truncate(length.max(SHORTEST));
            bytes += length as u64;
            packets += 1;
            // There is room: no more than a burst is read.
            let _ = self.burst.push(mbuf);
        }
        if packets == 0 {
            return false;
        }
        let sent = way.ring.send(&mut self.burst);
        self.burst.clear();
        way.doorbell.ring();
        add(&counters.from_packets, sent as u64);
        add(&counters.from_bytes, bytes);
        lose(sink, counters, (packets - sent) as u64);
        true
    }
}

/// Counts frames of the kernel that are lost here.
fn lose(sink: &Sink, counters: &Counters, frames: u64) {
    match sink {
        Sink::Probes(_, probing) => probing.count(Outcome::NoRoom, frames),
        _ => add(&counters.from_dropped, frames),
    }
}

/// Writes an Ethernet header before an IP packet. Its addresses mean nothing: the packet gets others when it is encapsulated.
fn put_header(frame: &mut [u8]) {
    let ethertype = match frame.get(ethernet::LENGTH).map(|first| first >> 4) {
        Some(4) => ethernet::IPV4,
        Some(6) => ethernet::IPV6,
        _ => 0,
    };
    if let Some(header) = frame.first_chunk_mut::<{ ethernet::LENGTH }>() {
        *header = [0; ethernet::LENGTH];
        header[ethernet::LENGTH - 2..].copy_from_slice(&ethertype.to_be_bytes());
    }
}

impl Lane {
    /// Frames for which the ring to the worker has room.
    fn room(&self) -> usize {
        self.way.as_ref().map_or(0, |way| way.ring.room())
    }

    /// Notes that somebody removed the interface. The watch of the links reports it, and makes that of probes again.
    fn remove(&mut self) {
        match &mut self.sink {
            Sink::Probes(device, _) => *device = None,
            sink => *sink = Sink::Nothing,
        }
    }
}

/// Whether the error says that the interface does not exist any more.
fn is_removed(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::BADFD.raw_os_error())
}

/// The time of day in microseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
