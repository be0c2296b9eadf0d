//! Requests to the kernel, each with its answer.

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use netlink_packet_route::RouteNetlinkMessage;

use super::socket::{Content, RECEIVE_BUFFER, Received, Socket, append};
use super::{Error, Refused};

/// The most requests in one datagram. Their answers fit the receive buffer many times.
const TOGETHER: usize = 256;
/// How often a dump is repeated that a change interrupted.
const DUMPS: usize = 10;

/// A socket for requests, used by one thread at a time.
#[derive(Debug)]
pub struct Requests {
    socket: Socket,
    sequence: u32,
}

impl Requests {
    /// Opens a socket in the network namespace of the calling thread.
    ///
    /// # Errors
    /// If the kernel refuses one.
    pub fn open() -> Result<Requests, Error> {
        Ok(Requests { socket: Socket::open(RECEIVE_BUFFER)?, sequence: 0 })
    }

    /// Like [`Requests::open`], and the kernel filters tables by what the request for them has set, such as table and
    /// protocol of routes. Other fields of the request must be 0, or the kernel refuses it.
    ///
    /// # Errors
    /// If the kernel refuses a socket, or cannot filter (before Linux 4.20).
    pub fn open_filtering() -> Result<Requests, Error> {
        let requests = Requests::open()?;
        requests.socket.check_strictly()?;
        Ok(requests)
    }

    /// The number of the socket, by which the kernel says whose request changed a route.
    pub fn port(&self) -> u32 {
        self.socket.port()
    }

    /// Has the kernel change something. `flags` are those of the message besides request and acknowledgement.
    ///
    /// # Errors
    /// [`Error::Refused`] if the kernel refuses it.
    pub fn change(&mut self, message: RouteNetlinkMessage, flags: u16) -> Result<(), Error> {
        let answers = self.change_all(vec![message], flags)?;
        answers.into_iter().try_for_each(|answer| answer.map_err(Error::Refused))
    }

    /// Has the kernel change several things, in this order, with an answer for each.
    ///
    /// # Errors
    /// If the socket fails. What the kernel refuses is an answer.
    pub fn change_all(
        &mut self,
        messages: Vec<RouteNetlinkMessage>,
        flags: u16,
    ) -> Result<Vec<Result<(), Refused>>, Error> {
        let answers = self.exchange(messages, flags | NLM_F_ACK)?;
        Ok(answers.into_iter().map(|answer| answer.map(|_| ())).collect())
    }

    /// Asks several questions that have one message as answer each.
    ///
    /// # Errors
    /// If the socket fails. What the kernel refuses is an answer.
    pub fn ask_all(
        &mut self,
        messages: Vec<RouteNetlinkMessage>,
    ) -> Result<Vec<Result<RouteNetlinkMessage, Refused>>, Error> {
        let answers = self.exchange(messages, 0)?;
        let some = |answer: Option<_>| answer.ok_or(Refused::unintelligible());
        Ok(answers.into_iter().map(|answer| answer.and_then(some)).collect())
    }

    fn exchange(
        &mut self,
        messages: Vec<RouteNetlinkMessage>,
        flags: u16,
    ) -> Result<Vec<Result<Option<RouteNetlinkMessage>, Refused>>, Error> {
        let mut answers = Vec::with_capacity(messages.len());
        let mut messages = messages.into_iter().peekable();
        let mut datagram = Vec::new();
        while messages.peek().is_some() {
            let (first, begin) = (self.sequence.wrapping_add(1), answers.len());
            datagram.clear();
            for message in messages.by_ref().take(TOGETHER) {
                self.sequence = self.sequence.wrapping_add(1);
                append(&mut datagram, message, flags | NLM_F_REQUEST, self.sequence);
                answers.push(None);
            }
            self.socket.send(&datagram)?;
            let batch = &mut answers[begin..];
            let mut missing = batch.len();
            while missing > 0 {
                let skipped = self.socket.skipped();
                let is_answered =
                    self.socket.receive(|Received { sequence, content, .. }| {
                        let index = sequence.wrapping_sub(first) as usize;
                        let answer = match content {
                            Content::Message(message) => Ok(Some(message)),
                            Content::End(outcome) => outcome.map(|()| None),
                            Content::NextHopObject | Content::Route(_) => return,
                        };
                        // An answer to an older request, whose wait was given up, has no place here.
                        if let Some(place @ None) = batch.get_mut(index) {
                            *place = Some(answer);
                            missing -= 1;
                        }
                    })?;
                if !is_answered {
                    return Err(Error::Silent);
                }
                // An answer that could not be parsed is one all the same; whose it is does not matter much.
                let unintelligible = self.socket.skipped() - skipped;
                missing =
                    missing.saturating_sub(usize::try_from(unintelligible).unwrap_or(missing));
            }
        }
        let some = |answer: Option<_>| answer.unwrap_or_else(|| Err(Refused::unintelligible()));
        Ok(answers.into_iter().map(some).collect())
    }

    /// Reads a whole table. Begins anew if the table changes meanwhile.
    ///
    /// # Errors
    /// If the kernel refuses, or if the table does not stand still for several readings.
    pub fn dump(
        &mut self,
        request: &RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, Error> {
        for _ in 0..DUMPS {
            if let Some(table) = self.dump_once(request.clone())? {
                return Ok(table);
            }
        }
        Err(Error::Restless)
    }

    /// `None` if the table changed meanwhile.
    fn dump_once(
        &mut self,
        request: RouteNetlinkMessage,
    ) -> Result<Option<Vec<RouteNetlinkMessage>>, Error> {
        self.sequence = self.sequence.wrapping_add(1);
        let (mut datagram, number) = (Vec::new(), self.sequence);
        append(&mut datagram, request, NLM_F_REQUEST | NLM_F_DUMP, number);
        self.socket.send(&datagram)?;
        let (mut table, mut is_interrupted, mut end) = (Vec::new(), false, None);
        while end.is_none() {
            let is_answered = self.socket.receive(|received| {
                if received.sequence != number {
                    return;
                }
                is_interrupted |= received.is_interrupted;
                match received.content {
                    Content::Message(message) => table.push(message),
                    Content::End(outcome) => end = Some(outcome),
                    Content::NextHopObject | Content::Route(_) => (),
                }
            })?;
            if !is_answered {
                return Err(Error::Silent);
            }
        }
        end.transpose().map_err(Error::Refused)?;
        Ok((!is_interrupted).then_some(table))
    }

    /// The number of messages that could not be parsed.
    pub fn skipped(&self) -> u64 {
        self.socket.skipped()
    }
}
