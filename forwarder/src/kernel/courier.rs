//! The thread `kernel`: carries frames between the workers and the interfaces of the ports.
//!
//! Each turn writes one burst of the first class that has any, of one worker, and reads at most one
//! burst of each interface. So a session of a routing protocol waits for no more than the burst under
//! way, and neither direction waits for the other. Without work the thread sleeps until an interface
//! has a frame or a worker rings.
//!
//! Frames that the daemon itself sends, such as announcements of addresses, leave as those of the kernel do.
//!
//! The thread reads an interface only as far as the ring to the port's worker has room. The rest waits
//! in the kernel, whose senders notice.

use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, Sender, bounded};
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
    /// The ports, by their index.
    pub(crate) lanes: Vec<Lane>,
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
        let Courier { lanes, punts, frames, doorbell, timestamps } = courier;
        Turns {
            spare: lanes.iter().map(|_| None).collect(),
            lanes,
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
            if self.frames.is_empty() && self.punts.iter().flatten().all(ring::Receiver::is_empty) {
                let is_full = |lane: &Lane| lane.device().is_some() && lane.room() == 0;
                timeout = self.lanes.iter().any(is_full).then_some(PATIENCE);
            }
        }
        let ready = |(_, lane): &(usize, &Lane)| lane.device().is_some() && lane.room() > 0;
        let open: Vec<usize> =
            self.lanes.iter().enumerate().filter(ready).map(|(index, _)| index).collect();
        let mut events = vec![PollFd::new(&*self.doorbell, PollFlags::IN)];
        let devices = open.iter().filter_map(|&lane| self.lanes[lane].device());
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
                Sink::Nothing => Ok(0),
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

    /// Reads a burst of what the kernel sends by a port. Returns whether there was anything.
    fn collect(&mut self, index: usize) -> bool {
        let (lane, spare) = (&mut self.lanes[index], &mut self.spare[index]);
        let (Sink::Interface(device), Some(way)) = (&lane.sink, &mut lane.way) else {
            return false;
        };
        let room = way.ring.room().min(BURST);
        let (mut packets, mut bytes) = (0, 0);
        while packets < room {
            let Some(mut mbuf) = spare.take().or_else(|| Allocator::allocate(&way.pool)) else {
                // The frame is lost: left where it is, it would keep the thread awake.
                let lost = device.recv(&mut [0; 1]).is_ok();
                add(&lane.counters.from_dropped, lost.into());
                break;
            };
            let buffer = mbuf.refill(way.pool.data_room().into()).unwrap_or_default();
            let longest = buffer.len();
            let length = match device.recv(buffer) {
                Ok(length) => length,
                // No more frames for now. If the interface was removed, the next wait says so.
                Err(_) => {
                    *spare = Some(mbuf);
                    break;
                }
            };
            if length == longest {
                // Cut off: somebody has raised the interface's MTU above the port's.
                add(&lane.counters.from_dropped, 1);
                *spare = Some(mbuf);
                continue;
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
        add(&lane.counters.from_packets, sent as u64);
        add(&lane.counters.from_bytes, bytes);
        add(&lane.counters.from_dropped, (packets - sent) as u64);
        true
    }
}

impl Lane {
    fn device(&self) -> Option<&SyncDevice> {
        match &self.sink {
            Sink::Interface(device) => Some(device),
            _ => None,
        }
    }

    /// Frames for which the ring to the worker has room.
    fn room(&self) -> usize {
        self.way.as_ref().map_or(0, |way| way.ring.room())
    }

    /// Notes that somebody removed the interface. The watch of the links reports it.
    fn remove(&mut self) {
        self.sink = Sink::Nothing;
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
mod tests {
    use std::fs;

    use super::*;
    use crate::dpdk::testing::{eal, packets, pool, unique};

    /// A ring that holds `marks`, as frames of port 0.
    fn ring_of(pool: &Mempool, marks: std::ops::Range<u8>) -> ring::Receiver {
        let (mut sender, receiver) = ring::channel(eal(), &unique("punt"), 64, None).unwrap();
        let mut burst = packets(pool, marks.end);
        let mut wanted = Burst::new();
        for mut mbuf in burst.drain().skip(marks.start.into()) {
            mark(&mut mbuf, PortIndex(0));
            assert!(wanted.push(mbuf).is_ok());
        }
        sender.send(&mut wanted);
        receiver
    }

    fn turns(punts: Vec<Vec<ring::Receiver>>, sink: Sink) -> (Turns, Arc<Counters>) {
        let counters = Arc::<Counters>::default();
        let lane = Lane { sink, counters: Arc::clone(&counters), way: None };
        let doorbell = Arc::new(Doorbell::new().unwrap());
        let (_, frames) = Frames::new(&doorbell);
        let courier = Courier { lanes: vec![lane], punts, frames, doorbell, timestamps: None };
        (Turns::new(courier), counters)
    }

    /// The marks of the frames in a capture.
    fn marks(path: &std::path::Path) -> Vec<u8> {
        let bytes = fs::read(path).unwrap();
        let (mut marks, mut at) = (Vec::new(), 24);
        while at < bytes.len() {
            let length = u32::from_ne_bytes(bytes[at + 8..at + 12].try_into().unwrap());
            marks.push(bytes[at + 16]);
            at += 16 + usize::try_from(length).unwrap();
        }
        marks
    }

    #[test]
    fn classes_are_served_in_order_and_workers_in_turn() {
        let pool = pool(255);
        let file = tempfile::NamedTempFile::new().unwrap();
        let sink = Sink::Capture(capture::Writer::create(file.path()).unwrap());
        let punts = vec![
            vec![ring_of(&pool, 0..1), ring_of(&pool, 1..3)],
            vec![ring_of(&pool, 3..5), ring_of(&pool, 5..6)],
        ];
        let (mut turns, counters) = turns(punts, sink);
        let mut served = 0;
        while turns.serve() {
            served += 1;
        }
        assert_eq!(served, 4);
        turns.finish().unwrap();
        assert_eq!(marks(file.path()), [0, 1, 2, 3, 4, 5]);
        let counted = counters.read();
        assert_eq!((counted.to_kernel_packets, counted.to_kernel_bytes), (6, 21));
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn frames_in_several_buffers_are_refused() {
        let pool = pool(63);
        let (mut sender, receiver) = ring::channel(eal(), &unique("punt"), 64, None).unwrap();
        let mut burst = packets(&pool, 2);
        let mbuf = burst.get_mut(0).unwrap();
        mark(mbuf, PortIndex(0));
        mbuf.pretend(2, 1);
        // No port.
        mark(burst.get_mut(1).unwrap(), PortIndex(9));
        sender.send(&mut burst);
        let (mut turns, counters) = turns(vec![vec![receiver]], Sink::Nothing);
        // The mbuf has one buffer in truth, so it must not be freed as one of two.
        turns.punts[0][0].receive(&mut turns.burst);
        let is_contiguous = |turns: &Turns, i| turns.burst.get(i).unwrap().is_contiguous();
        assert_eq!((is_contiguous(&turns, 0), is_contiguous(&turns, 1)), (false, true));
        turns.write();
        assert_eq!(counters.read().to_kernel_refused, 1);
        assert_eq!(counters.read().to_kernel_packets, 0);
    }

    /// The thread wakes for a frame, and what is left when it is told to stop is written.
    #[test]
    fn the_thread_sleeps_and_wakes_and_loses_nothing() {
        const FRAMES: usize = 300;
        let pool = pool(1023);
        let file = tempfile::NamedTempFile::new().unwrap();
        let sink = Sink::Capture(capture::Writer::create(file.path()).unwrap());
        let (mut sender, receiver) = ring::channel(eal(), &unique("punt"), 512, None).unwrap();
        let counters = Arc::<Counters>::default();
        let doorbell = Arc::new(Doorbell::new().unwrap());
        let lanes = vec![Lane { sink, counters: Arc::clone(&counters), way: None }];
        let courier = Courier {
            lanes,
            punts: vec![vec![receiver]],
            frames: Frames::new(&doorbell).1,
            doorbell: Arc::clone(&doorbell),
            timestamps: None,
        };
        let handle = courier.start(eal()).unwrap();
        let mut sent = 0;
        while sent < FRAMES {
            let mut burst = packets(&pool, 1);
            mark(burst.get_mut(0).unwrap(), PortIndex(0));
            sent += sender.send(&mut burst);
            doorbell.ring();
            if sent % 100 == 0 {
                // Asleep again.
                thread::sleep(Duration::from_millis(5));
                assert_eq!(counters.read().to_kernel_packets, sent as u64);
            }
        }
        handle.stop().unwrap();
        assert_eq!(marks(file.path()).len(), FRAMES);
        drop(sender);
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn a_frame_of_the_daemon_leaves_by_its_port_with_the_least_length() {
        let pool = pool(63);
        let (ring, mut receiver) = ring::channel(eal(), &unique("own"), 64, None).unwrap();
        let doorbell = Arc::new(Doorbell::new().unwrap());
        let way = Way { ring, pool: pool.clone(), doorbell: Arc::new(Doorbell::new().unwrap()) };
        let lane = Lane { sink: Sink::Nothing, counters: Arc::default(), way: Some(way) };
        let (sender, frames) = Frames::new(&doorbell);
        let courier =
            Courier { lanes: vec![lane], punts: Vec::new(), frames, doorbell, timestamps: None };
        let handle = courier.start(eal()).unwrap();
        let mut received = Burst::new();
        for (lane, frame) in
            [(0, vec![7; 20]), (9, vec![8; 60]), (0, vec![9; 5000]), (0, vec![10; 86])]
        {
            // Asleep.
            thread::sleep(Duration::from_millis(2));
            sender.send(lane, frame);
        }
        let mut lengths = Vec::new();
        while lengths.len() < 2 {
            receiver.receive(&mut received);
            lengths.extend(received.drain().map(|mbuf| (mbuf.bytes()[0], mbuf.bytes().len())));
        }
        assert_eq!(lengths, [(7, 60), (10, 86)], "no other lane, and no frame without room");
        handle.stop().unwrap();
        drop(receiver);
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn a_capture_that_cannot_be_written_is_an_error_in_the_end() {
        let pool = pool(255);
        let sink = Sink::Capture(capture::Writer::create("/dev/full".as_ref()).unwrap());
        let (mut turns, _) = turns(vec![vec![ring_of(&pool, 0..3)]], sink);
        while turns.serve() {}
        assert!(turns.finish().is_err());
    }
}
