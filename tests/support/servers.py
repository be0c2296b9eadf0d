"""Servers of the virtual addresses in a fabric: hosts whose agent takes the tunnels off, and nginx there."""

import select
import subprocess

from . import binaries
from .hosts import INTERFACE, wait_until
from .packets import VIP

# The networks that tunnels may come from.
PEERS = ("192.0.2.0/24", "2001:db8::/64")


def addresses(number):
    """The own addresses of the server of this number, by family."""
    return {4: f"192.0.2.1{number}", 6: f"2001:db8::1{number}"}


def host(fabric, number):
    """A host on the bridge `edge`, without an agent."""
    own = addresses(number)
    made = fabric.host("edge", f"{own[4]}/24", f"{own[6]}/64", name=f"s{number}")
    # ARP must not announce the virtual address.
    made.sysctl(**{"ipv4.conf.all.arp_ignore": 1, "ipv4.conf.all.arp_announce": 2})
    made.ip("link", "set", INTERFACE, "mtu", "1600")
    return made


def start_agent(server):
    """Takes tunnels off, with the virtual addresses on the loopback. Returns the process."""
    vips = [word for vip in VIP.values() for word in ("--vip", vip)]
    peers = [word for peer in PEERS for word in ("--peer", peer)]
    agent = server.start(binaries.directory() / "guideway-agent", *vips, *peers, stdout=subprocess.PIPE)
    assert select.select([agent.stdout], [], [], 10)[0], "the agent prints nothing"
    assert agent.stdout.readline().startswith("ready: ")
    return agent


def kill(process):
    """SIGKILL. Returns once it is gone."""
    process.kill()
    process.wait(10)


NGINX = """
daemon off;
user root;
pid {at}/nginx.pid;
error_log {at}/error.log;
worker_processes 1;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
    log_format probes '$msec $status $remote_addr $remote_port $uri';
    access_log {at}/access.log probes;
    client_body_temp_path {at}/body;
    proxy_temp_path {at}/proxy;
    fastcgi_temp_path {at}/fastcgi;
    uwsgi_temp_path {at}/uwsgi;
    scgi_temp_path {at}/scgi;
    default_type text/plain;
    server {{
        listen {port} backlog=4096;
        listen [::]:{port} backlog=4096;
        location / {{
            if (-f {at}/bad) {{ return 503; }}
            if (-f {at}/leaving) {{ return 404; }}
            return 200 "{name} is well\\n";
        }}
    }}
{more}
}}
"""


class Nginx:
    """nginx of a server. It answers 503 while it is told to be bad, and 404 while it is told to leave."""

    def __init__(self, server, directory, name, more="", port=80):
        self.at = directory / f"{name}.nginx"
        self.at.mkdir()
        configuration = self.at / "nginx.conf"
        configuration.write_text(NGINX.format(at=self.at, name=name, more=more, port=port))
        line = ("nginx", "-e", self.at / "error.log", "-p", self.at, "-c", configuration)
        self.process = server.start(*line)
        wait_until(lambda: (self.at / "nginx.pid").exists(), 10, self.errors)

    def errors(self):
        log = self.at / "error.log"
        return log.read_text() if log.exists() else "nginx has no log"

    def be(self, state):
        """`well`, `bad` or `leaving`, from the next request on."""
        for word in ("bad", "leaving"):
            file = self.at / word
            if word == state:
                file.touch()
            else:
                file.unlink(missing_ok=True)

    def requests(self, path="/"):
        """The requests for a path: (time as time.time(), status, the client's address and port)."""
        lines = [line.split() for line in (self.at / "access.log").read_text().splitlines()]
        return [(float(at), int(status), (address, int(port))) for at, status, address, port, uri in lines if uri == path]
