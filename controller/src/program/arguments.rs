//! The options of the program.

use std::path::PathBuf;

use clap::Parser;
use guideway_api::Daemon;
use guideway_config::Listen;

const AFTER_HELP: &str = "\
Environment:
  GUIDEWAY_LOG  The least severe level that is logged: off, error, warn, info or debug [default: log.level of the
                forwarder's configuration]

Exit codes:
  0  stopped by a signal
  1  failed: stderr says more
  2  usage";

/// Announces the virtual addresses of a forwarder: by routes of the kernel, which BIRD or FRR export
///
/// The configuration is that of the forwarder. SIGHUP reads the password files of BGP sessions again. When the
/// controller ends, what is announced stays announced for as long as the forwarder lives.
#[derive(Debug, Parser)]
#[command(name = "guideway-controller", version, after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// The forwarder's control socket
    #[arg(long, value_name = "SOCKET", default_value = Daemon::Forwarder.socket())]
    pub(super) forwarder: PathBuf,
    /// The control socket of the controller
    #[arg(long, value_name = "SOCKET", default_value = Daemon::Controller.socket())]
    pub(super) socket: PathBuf,
    /// The group whose members may use it [default: the group of the process]
    #[arg(long, value_name = "GROUP")]
    pub(super) group: Option<String>,
    /// A second control socket, at which clients may only read
    #[arg(long, value_name = "SOCKET")]
    pub(super) read_socket: Option<PathBuf>,
    /// The group whose members may read: at --read-socket, and pages at a unix socket
    /// [default: the group of the process]
    #[arg(long, value_name = "GROUP")]
    pub(super) read_group: Option<String>,
    /// Where orders are stored for the next start
    #[arg(long, value_name = "DIR", default_value = "/var/lib/guideway-controller")]
    pub(super) state_directory: PathBuf,
    /// Where the pages /metrics, /healthz and /readyz are served: ADDRESS:PORT or the path of a unix socket
    #[arg(long, value_name = "ADDRESS|PATH")]
    pub(super) listen: Vec<Listen>,
    /// A name by which that server may be addressed, besides addresses, localhost and node.name
    #[arg(long, value_name = "NAME")]
    pub(super) host: Vec<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_options_are_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn without_options_the_units_paths_are_meant() {
        let arguments = Arguments::parse_from(["guideway-controller"]);
        assert_eq!(arguments.forwarder, PathBuf::from(Daemon::Forwarder.socket()));
        assert_eq!(arguments.socket, PathBuf::from(Daemon::Controller.socket()));
        assert!(arguments.listen.is_empty() && arguments.host.is_empty());
    }

    #[test]
    fn a_listener_is_an_address_or_a_path() {
        let listen = |text: &str| {
            let line = ["guideway-controller", "--listen", text];
            Arguments::try_parse_from(line).map(|arguments| arguments.listen)
        };
        assert_eq!(listen("[::1]:9421").unwrap(), [Listen::Tcp("[::1]:9421".parse().unwrap())]);
        assert_eq!(listen("/run/x.sock").unwrap(), [Listen::Unix("/run/x.sock".into())]);
        for text in ["", "9421", "127.0.0.1", "127.0.0.1:0", "x.sock"] {
            assert!(listen(text).is_err(), "{text}");
        }
    }
}
