//! `guidewayctl vip`, `node` and `bgp`: what the controller announces, and what it is ordered to.

use std::io::{self, Read};
use std::net::IpAddr;

use clap::{Args, Subcommand};
use guideway_api::{MAX_CHANGES, NodeOrder, Request, VipOrder};

use super::watch::Watch;
use crate::error::Error;

/// Bytes of stdin at the most. As many addresses as a request may have, each with a comment, are shorter.
const MAX_LIST: u64 = 16 << 20;

#[derive(Debug, Subcommand)]
pub(crate) enum VipCommand {
    /// List the virtual addresses: how routers learn of each, and why
    List {
        #[command(flatten)]
        watch: Watch,
    },
    /// Announce addresses: those of services as these serve, others as long as the forwarder is well
    Announce {
        #[command(flatten)]
        addresses: Addresses,
        /// The next hop that the peers are told instead of that of the session; one of each family
        #[arg(long = "next-hop", value_name = "ADDRESS")]
        next_hops: Vec<IpAddr>,
        #[command(flatten)]
        terms: Terms,
    },
    /// Withdraw addresses at once, until they are announced again; drain first to break no connection
    Withdraw {
        #[command(flatten)]
        addresses: Addresses,
        #[command(flatten)]
        terms: Terms,
    },
    /// Have routers prefer other nodes for addresses, and withdraw them after announce.drain_time
    Drain {
        #[command(flatten)]
        addresses: Addresses,
        #[command(flatten)]
        terms: Terms,
    },
    /// End the drain of addresses
    Undrain {
        #[command(flatten)]
        addresses: Addresses,
        #[command(flatten)]
        terms: Terms,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Show the controller, the forwarder as it sees it, and the drains of the node
    Show {
        #[command(flatten)]
        watch: Watch,
    },
    /// Have routers prefer other nodes for all addresses, and withdraw them after announce.drain_time
    Drain {
        #[command(flatten)]
        terms: Terms,
    },
    /// End the drain of the node
    Undrain {
        #[command(flatten)]
        terms: Terms,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum BgpCommand {
    /// List the BGP sessions, and why they are not established
    List {
        #[command(flatten)]
        watch: Watch,
    },
    /// Show one BGP session and the routes sent
    Show {
        /// The peer, bgp.peer.name
        peer: String,
        #[command(flatten)]
        watch: Watch,
    },
}

/// The addresses that a command is about.
#[derive(Debug, Args)]
pub(crate) struct Addresses {
    /// Virtual addresses; `-` reads them from stdin, one a line, where # begins a comment
    #[arg(value_name = "ADDRESS", required = true, value_parser = word)]
    words: Vec<Word>,
}

/// For which peers, and why.
#[derive(Debug, Args)]
pub(crate) struct Terms {
    /// Only for this peer, bgp.peer.name; may be repeated [default: for all peers]
    #[arg(long = "peer", value_name = "PEER")]
    peers: Vec<String>,
    /// Why, for listings, events and the audit trail: 1 to 255 bytes
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// A word of the command line in the place of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Address(IpAddr),
    Stdin,
}

impl VipCommand {
    /// Whether the command orders something.
    pub(crate) fn is_change(&self) -> bool {
        !matches!(self, VipCommand::List { .. })
    }

    pub(crate) fn watch(&self) -> Option<&Watch> {
        match self {
            VipCommand::List { watch } => Some(watch),
            _ => None,
        }
    }

    pub(crate) fn request(&self) -> Result<Request, Error> {
        let (addresses, order, next_hops, terms) = match self {
            VipCommand::List { .. } => return Ok(Request::VipList {}),
            VipCommand::Announce { addresses, next_hops, terms } => {
                (addresses, VipOrder::Announce, next_hops.clone(), terms)
            }
            VipCommand::Withdraw { addresses, terms } => {
                (addresses, VipOrder::Withdraw, vec![], terms)
            }
            VipCommand::Drain { addresses, terms } => (addresses, VipOrder::Drain, vec![], terms),
            VipCommand::Undrain { addresses, terms } => {
                (addresses, VipOrder::Undrain, vec![], terms)
            }
        };
        let (peers, reason) = (terms.peers.clone(), terms.reason.clone());
        let addresses = addresses.read(io::stdin())?;
        Ok(Request::VipSet { addresses, order, peers, next_hops, reason })
    }
}

impl NodeCommand {
    /// Whether the command orders something.
    pub(crate) fn is_change(&self) -> bool {
        !matches!(self, NodeCommand::Show { .. })
    }

    pub(crate) fn watch(&self) -> Option<&Watch> {
        match self {
            NodeCommand::Show { watch } => Some(watch),
            _ => None,
        }
    }

    pub(crate) fn request(&self) -> Request {
        let (order, terms) = match self {
            NodeCommand::Show { .. } => return Request::NodeShow {},
            NodeCommand::Drain { terms } => (NodeOrder::Drain, terms),
            NodeCommand::Undrain { terms } => (NodeOrder::Undrain, terms),
        };
        Request::NodeSet { order, peers: terms.peers.clone(), reason: terms.reason.clone() }
    }
}

impl BgpCommand {
    pub(crate) fn watch(&self) -> &Watch {
        match self {
            BgpCommand::List { watch } | BgpCommand::Show { watch, .. } => watch,
        }
    }

    pub(crate) fn request(&self) -> Request {
        match self {
            BgpCommand::List { .. } => Request::BgpList {},
            BgpCommand::Show { peer, .. } => Request::BgpShow { peer: peer.clone() },
        }
    }
}

impl Addresses {
    /// The addresses, with those of `stdin` in the place of `-`.
    fn read(&self, stdin: impl Read) -> Result<Vec<IpAddr>, Error> {
        let mut addresses = Vec::new();
        let mut stdin = stdin.take(MAX_LIST + 1);
        for word in &self.words {
            match word {
                Word::Address(address) => addresses.push(*address),
                Word::Stdin => {
                    let mut bytes = Vec::new();
                    let failed = |source| Error::File { path: "-".into(), source };
                    stdin.read_to_end(&mut bytes).map_err(failed)?;
                    if bytes.len() as u64 > MAX_LIST {
                        return Err(usage(format!("stdin has more than {MAX_LIST} bytes")));
                    }
                    addresses.extend(list(&String::from_utf8_lossy(&bytes))?);
                }
            }
        }
        match addresses.len() {
            0 => Err(usage("stdin has no address".to_owned())),
            1..=MAX_CHANGES => Ok(addresses),
            many => Err(usage(format!("{many} addresses are more than {MAX_CHANGES}"))),
        }
    }
}

/// Parses a list of addresses, one a line.
fn list(text: &str) -> Result<Vec<IpAddr>, Error> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let lines = lines.enumerate().filter(|(_, line)| !line.is_empty());
    let parsed = lines.map(|(n, line)| {
        line.parse().map_err(|_| usage(format!("line {} of stdin is no address: {line}", n + 1)))
    });
    parsed.collect()
}

fn word(text: &str) -> Result<Word, String> {
    match text {
        "-" => Ok(Word::Stdin),
        _ => text
            .parse()
            .map(Word::Address)
            .map_err(|_| "an address is needed, for example 203.0.113.10, or -".to_owned()),
    }
}

fn usage(message: String) -> Error {
    Error::Usage { message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str], stdin: &str) -> Result<Vec<IpAddr>, String> {
        let words = words.iter().map(|text| word(text)).collect::<Result<_, _>>()?;
        Addresses { words }.read(stdin.as_bytes()).map_err(|error| error.to_string())
    }

    fn parsed(addresses: &[&str]) -> Result<Vec<IpAddr>, String> {
        Ok(addresses.iter().map(|address| address.parse().unwrap()).collect())
    }

    #[test]
    fn addresses_are_words_and_lines() {
        let two = ["203.0.113.10", "2001:db8::10"];
        assert_eq!(read(&two, "unread"), parsed(&two));
        let list = "# the web\n203.0.113.10\r\n\n  2001:db8::10  # dns\n";
        assert_eq!(read(&["-"], list), parsed(&two));
        let around = ["203.0.113.1", "203.0.113.10", "2001:db8::10", "203.0.113.2"];
        assert_eq!(read(&["203.0.113.1", "-", "203.0.113.2"], list), parsed(&around));
        assert_eq!(read(&["-", "-"], list), parsed(&two), "stdin has one end");
    }

    #[test]
    fn what_is_no_address_is_named() {
        for (words, stdin, message) in [
            (&["203.0.113.0/24"][..], "", "an address is needed"),
            (&["-"], "", "stdin has no address"),
            (&["-"], "# 203.0.113.1\n", "stdin has no address"),
            (&["-"], "203.0.113.1\n\nweb1\n", "line 3 of stdin is no address: web1"),
            (&["-"], "203.0.113.1 203.0.113.2\n", "line 1 of stdin is no address"),
        ] {
            let error = read(words, stdin).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
        let many = "203.0.113.1\n".repeat(MAX_CHANGES);
        assert_eq!(read(&["-"], &many).map(|all| all.len()), Ok(MAX_CHANGES));
        let error = read(&["203.0.113.1", "-"], &many).unwrap_err();
        assert!(error.contains("65536 addresses are more than 65535"), "{error}");
        let endless = Addresses { words: vec![Word::Stdin] };
        let error = endless.read(io::repeat(b'\n')).unwrap_err().to_string();
        assert!(error.contains("stdin has more than"), "{error}");
    }
}
