//! Connections as hyper reads and writes them.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::connection::Admitted;

/// Bytes that are read at once.
const READ_BYTES: usize = 4 << 10;
/// Bytes that a connection may write before it is another's turn. The kernel copies them in about 0.1 ms.
const TURN_BYTES: usize = 256 << 10;

/// A connection.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Sends a short answer to whatever the client has asked for, and closes the connection.
    pub(super) fn refuse(self, answer: &[u8]) {
        fn refuse(mut stream: impl io::Read + io::Write, answer: &[u8]) {
            // A request that nobody has read would have the kernel reset the connection, answer included.
            let _ = stream.read(&mut [0; READ_BYTES]);
            // Nobody is left to be told.
            let _ = stream.write(answer);
        }
        match self {
            Stream::Tcp(stream) => _ = stream.into_std().map(|stream| refuse(stream, answer)),
            Stream::Unix(stream) => _ = stream.into_std().map(|stream| refuse(stream, answer)),
        }
    }

    /// Has the connection's times measured.
    pub(super) fn watched(self, connection: Rc<Admitted>) -> Watched {
        Watched { stream: self, connection, written: 0 }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Stream::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Stream::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// A connection that tells when bytes come and go.
pub(super) struct Watched {
    stream: Stream,
    connection: Rc<Admitted>,
    /// Bytes written in this turn.
    written: usize,
}

impl Read for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = [0; READ_BYTES];
        let room = buf.remaining().min(READ_BYTES);
        let mut read = ReadBuf::new(&mut bytes[..room]);
        ready!(self.stream.poll_read(cx, &mut read))?;
        if !read.filled().is_empty() {
            self.connection.has_read();
        }
        buf.put_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

impl Write for Watched {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.written >= TURN_BYTES {
            self.written = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // Hyper writes a header and a body, the body in one piece.
        let mut left = TURN_BYTES;
        let mut slices = [IoSlice::new(&[]); 2];
        for (slice, buf) in slices.iter_mut().zip(bufs) {
            let bytes = buf.len().min(left);
            *slice = IoSlice::new(&buf[..bytes]);
            left -= bytes;
        }
        let written = ready!(self.stream.poll_write(cx, &slices))?;
        self.written += written;
        if written > 0 {
            self.connection.has_written();
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Called when nothing is left to be written.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.has_flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_shutdown(cx)
    }
}
