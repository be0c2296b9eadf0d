//! What the thread `checks` is told and asked, and what it reports.

use std::net::IpAddr;
use std::sync::Arc;

use crossbeam_channel::Sender;
use guideway_api::{CheckDetails, CheckRun, Error, Happening};
use guideway_config::Configuration;

use super::settings;
use super::snapshot::Snapshot;

/// What the thread is told.
pub(super) enum Command {
    /// A configuration is in force. `is_running` says that addresses are announced already, so that an earlier run of the
    /// controller has checked their backends.
    Configure { configuration: Arc<Configuration>, is_running: bool },
    /// The number of the forwarder's process, and whether states may follow results.
    Forwarder { process: Option<i32>, is_well: bool },
    /// Whether probes through tunnels can leave the node.
    Probes { is_ready: bool },
    /// Of the thread that sets states and pins.
    Settings(settings::Report),
    /// An ICMP error about a packet to this backend's address.
    Icmp { about: IpAddr, words: String },
    /// Somebody asks.
    Ask(Question),
    /// End.
    Stop,
}

/// What the thread is asked.
pub(super) enum Question {
    /// Everything.
    List(Sender<Snapshot>),
    /// One check of one backend.
    Show { which: Which, answer: Sender<Result<CheckDetails, Error>> },
    /// A probe now.
    Run { which: Which, answer: Sender<Result<CheckRun, Error>> },
}

/// One check of one backend.
#[derive(Clone, Debug)]
pub struct Which {
    /// The check's name.
    pub check: String,
    /// The backend's name or address.
    pub backend: String,
    /// Its pool, if several have it.
    pub pool: Option<String>,
}

/// What the thread reports.
#[derive(Clone, Debug)]
pub enum Report {
    /// First results are in, and states and pins are set in this process of the forwarder.
    Ready {
        /// The number of the process.
        process: i32,
    },
    /// For the record.
    Happened(Vec<Happening>),
}
