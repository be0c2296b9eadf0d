//! Servers that follow a script, for one connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use socket2::SockRef;

/// What a server does next.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Send(Vec<u8>),
    /// The same, until the client is gone.
    SendForEver(Vec<u8>),
    /// A byte at a time.
    Drip(Vec<u8>, Duration),
    Wait(Duration),
    /// Reads until an empty line, or until nothing comes any more.
    ReadRequest,
    /// Reads what comes first.
    Read,
    /// Says nothing until the client is gone.
    Hold,
    Reset,
}

pub(crate) fn send(text: &str) -> Act {
    Act::Send(text.as_bytes().to_vec())
}

/// A server on this address that plays the script once and then closes.
pub(crate) fn server_at(ip: &str, acts: Vec<Act>) -> SocketAddr {
    let listener = TcpListener::bind((ip, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        if !play(&mut stream, &acts) {
            reset(stream);
        }
    });
    address
}

pub(crate) fn server(acts: Vec<Act>) -> SocketAddr {
    server_at("127.0.0.1", acts)
}

/// The same over TLS.
pub(crate) fn tls_server(config: Arc<ServerConfig>, acts: Vec<Act>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
        // Without a session there is nothing to play for.
        while stream.conn.is_handshaking() {
            if stream.conn.complete_io(&mut stream.sock).is_err() {
                return;
            }
        }
        if play(&mut stream, &acts) {
            stream.conn.send_close_notify();
            let _ = stream.conn.complete_io(&mut stream.sock);
        } else {
            reset(stream.sock);
        }
    });
    address
}

/// Plays until the client is gone. Whether the connection is to be closed in order.
fn play(stream: &mut (impl Read + Write), acts: &[Act]) -> bool {
    for act in acts {
        let gone = match act {
            Act::Send(bytes) => stream.write_all(bytes).is_err() || stream.flush().is_err(),
            Act::SendForEver(bytes) => {
                while stream.write_all(bytes).is_ok() {}
                true
            }
            Act::Drip(bytes, pause) => bytes.iter().any(|byte| {
                thread::sleep(*pause);
                stream.write_all(&[*byte]).is_err() || stream.flush().is_err()
            }),
            Act::Wait(time) => {
                thread::sleep(*time);
                false
            }
            Act::ReadRequest => read_request(stream),
            Act::Read => !stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0),
            Act::Hold => {
                while stream.read(&mut [0; 1024]).is_ok_and(|read| read > 0) {}
                true
            }
            Act::Reset => return false,
        };
        if gone {
            break;
        }
    }
    true
}

/// Whether nothing comes any more.
fn read_request(stream: &mut impl Read) -> bool {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        if !stream.read(&mut byte).is_ok_and(|read| read > 0) {
            return true;
        }
        request.push(byte[0]);
    }
    false
}

fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}
