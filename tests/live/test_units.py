"""The programs work with the permissions of their systemd units."""

import json
import os
import re
import shutil
import socket
import subprocess

from support import agent, binaries, network, routing
from support.agent import FORWARDER, TUN, VIP, Agent, frame, inner_packet, tunnel
from support.config import one_port
from support.daemon import Daemon, live
from support.packets import client_packet, flow
from support.unit import Trace, Unit
from support.users import GROUP, USER, ask_as_nobody

# Constructors of DPDK's virtio drivers try this call. Only such a device needs it.
TRIED = {"iopl"}


class Confined(Daemon):
    """The appliance in the unit's sandbox."""

    def __init__(self, namespace, config, directory, unit, more_capabilities=()):
        super().__init__(namespace, config, directory)
        self.unit = unit
        self.more_capabilities = more_capabilities
        self.trace = Trace(directory / "trace")

    def line(self):
        self.unit.prepare()
        os.chown(self.directory, 0, GROUP.gr_gid)
        self.directory.chmod(int(*self.unit.values("RuntimeDirectoryMode"), 8))
        return self.unit.command(self.directory, super().line(), self.more_capabilities, self.trace.wrapper)


def work(daemon, peer):
    """Starts the forwarder, sends traffic, reloads and stops in order."""
    with daemon:
        with network.capturing(daemon.namespace, peer) as capture:
            sent = [client_packet(flow(4, "udp", 6, 9000 + n)).frame for n in range(20)]
            network.send(daemon.namespace, peer, sent)
            assert len(capture.wait(len(sent))) == len(sent), daemon.log()
        assert daemon.ctl("config", "reload").returncode == 0
        daemon.wait_for_generation(2)
        for groups, expected in ([GROUP.gr_gid], 0), ([], 3):
            done = ask_as_nobody(daemon.socket, *groups)
            assert done.returncode == expected, done
        code, _ = daemon.stop()
    assert code == 0, daemon.log()
    daemon.trace.wait(daemon.process.pid)
    daemon.trace.check(daemon.unit, TRIED)


def test_forwarder_on_a_packet_socket(namespace, directory):
    peer = namespace.cable("gw0")
    work(Confined(namespace, live(one_port(), "gw0", directory), directory, Unit("guideway.service")), peer)


def test_forwarder_with_an_interface(namespace, directory):
    """The unit allows the TAP and TUN devices, their addresses, and the settings below /proc/sys/net."""
    namespace.cable("gw3")
    config = live(one_port(), "gw3", directory)
    config["port"][0]["interface"] = "edge3"
    config["announce"] = {}
    unit = Unit("guideway.service")
    with Confined(namespace, config, directory, unit) as daemon:
        line = namespace.command("ip", "-br", "address", "show", "edge3")
        shown = subprocess.run(line, capture_output=True, text=True, check=True).stdout
        assert "192.0.2.1/24" in shown and "2001:db8::1/64" in shown, shown
        # That of the virtual addresses comes when every worker forwards.
        routing.until(lambda: "UP" in routing.ip(namespace, "-br", "link", "show", "gwvip", check=False), what=daemon.log)
        assert daemon.stop()[0] == 0, daemon.log()
    assert "cannot set" not in daemon.log()
    # The test cannot make a part of /proc read-only. The unit must name what it leaves writable.
    assert unit.values("ProtectKernelTunables") == ["yes"] and "/proc/sys/net" in unit.values("ReadWritePaths")
    daemon.trace.wait(daemon.process.pid)
    daemon.trace.check(unit, TRIED)


def test_forwarder_on_a_tap_device(namespace, directory):
    config = live(one_port(), "gw0", directory)
    config["port"][0]["device"] = "net_tap0,iface=gwtap0"
    work(Confined(namespace, config, directory, Unit("guideway.service")), "gwtap0")


def test_forwarder_on_an_xdp_socket(namespace, directory):
    config = live(one_port(), "gw1", directory)
    config["port"][0]["device"] = "net_af_xdp0,iface=gw1"
    unit = Unit("guideway.service", "af_xdp.conf")
    # This replaces LimitMEMLOCK=infinity, which needs a capability that the machine may not have.
    daemon = Confined(namespace, config, directory, unit, ["ipc_lock"])
    work(daemon, namespace.cable("gw1"))
    assert "detach program yourself" not in daemon.log(), daemon.log()
    shown = subprocess.run(namespace.command("ip", "link", "show", "gw1"), capture_output=True, text=True, check=True)
    assert "xdp" not in shown.stdout, "the XDP program remains"


def test_agent(namespace, directory):
    """All encapsulations, the counters on SIGUSR1, and an end that removes everything."""
    unit, trace = Unit("guideway-agent.service"), Trace(directory / "trace")
    host = agent.Host(namespace, "gw2")
    vips = [word for address in VIP.values() for word in ("--vip", address)]
    made = Agent(host, *vips, "--peer", FORWARDER[4], "--peer", FORWARDER[6])
    made.line = unit.command(directory, made.line, wrapper=trace.wrapper)
    sent = [inner_packet(version, b"payload") for version in (4, 6)]
    names = (*agent.OVER_IP, *agent.OVER_UDP)
    tunnels = [frame(tunnel(name, outer, packet)) for name in names for outer in (4, 6) for packet in sent]
    with made:
        with network.capturing(namespace, TUN) as capture:
            network.send(namespace, host.peer, tunnels)
            arrived = capture.wait(len(tunnels))
        assert made.counters()["delivered"] == len(arrived) == len(tunnels)
    trace.wait(made.process.pid)
    trace.check(unit)


def test_bird(root):
    """A session with MD5, GTSM and BFD, from port 179, with a configuration that another user replaces."""
    unit = Unit("guideway-bird.service")
    with routing.Site() as site:

        class Confined(routing.Bird):
            def run(self, *line, wait_for):
                # Its configuration is here too, as with the unit.
                os.chown(self.directory, USER.pw_uid, GROUP.gr_gid)
                self.trace = Trace(self.directory / "trace")
                super().run(*unit.command(self.directory, line, wrapper=self.trace.wrapper), wait_for=wait_for)

        tor = routing.Bird(site.router, routing.EXAMPLES / "router-bird.conf")
        with tor, Confined(site.node, routing.EXAMPLES / "bird.conf") as bird:
            site.route("add", "203.0.113.10/32", 1000, 1000)
            routing.until(lambda: bird.established() == 2 and tor.bfd_up() == 2, what=bird.log)
            routing.until(lambda: "203.0.113.10" in bird.sent("tor1v4"), what=bird.log)
            assert "Reconfigured" in bird.ask("configure", "soft")
            socket = (bird.directory / "bird.ctl").stat()
            assert (socket.st_gid, socket.st_mode & 0o777) == (GROUP.gr_gid, 0o660)
            assert "Shutdown requested" in bird.ask("down")
            bird.trace.wait(bird.stopped())
            # What it may not do it says in its log.
            assert not re.search("not permitted|denied", bird.log()), bird.log()
    bird.trace.check(unit)


class ServiceManager:
    """The socket at which systemd hears how a service is."""

    def __init__(self, directory):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(directory / "notify"))
        os.chown(directory / "notify", USER.pw_uid, -1)
        self._socket.settimeout(10)
        self.environment = ["env", f"NOTIFY_SOCKET={directory / 'notify'}", "WATCHDOG_USEC=1000000"]

    def wait(self, wanted):
        while wanted not in self._socket.recv(4096).decode().splitlines():
            pass


def test_controller(namespace, directory):
    """Routes, BIRD's configuration, orders and their file, the control socket and systemd's."""
    namespace.cable("gw4")
    unit, trace = Unit("guideway-controller.service"), Trace(directory / "own/trace")
    # As sysusers.d and tmpfiles.d make them: what is the controller's, and what it shares with BIRD.
    directory.chmod(0o755)
    for name, mode in ("own", 0o750), ("state", 0o700), ("bird", 0o2770):
        (directory / name).mkdir()
        os.chown(directory / name, USER.pw_uid, GROUP.gr_gid)
        (directory / name).chmod(mode)
    # Only root may be able to enter the checkout.
    program = shutil.copy(binaries.directory() / "guideway-controller", directory)
    config = live(one_port(), "gw4", directory)
    config["control"] = {"socket": str(directory / "guideway.sock"), "group": GROUP.gr_name}
    config["control"]["state_directory"] = str(directory / "forwarder")
    config["announce"] = {"bgp": "managed"}
    allowed = ["203.0.113.0/24", "2001:db8:f::/48"]
    config["bgp"] = {"local_as": 65001, "allowed": allowed, "directory": str(directory / "bird")}
    config["bgp.peer"] = [{"name": "tor1", "address": "192.0.2.254", "as": 65000}]
    systemd = ServiceManager(directory)
    control = directory / "own/controller.sock"
    line = [*systemd.environment, program, "--forwarder", directory / "guideway.sock", "--socket", control]
    line += ["--state-directory", directory / "state"]

    def ctl(*words):
        words = ["--socket", control, "-o", "json", *words]
        done = subprocess.run([binaries.guidewayctl(), *words], capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr + log()
        return json.loads(done.stdout)

    def log():
        return (directory / "controller.log").read_text()

    def routes():
        # Without a route there is no table, which is an error of `ip`.
        return "".join(routing.ip(namespace, family, "route", "show", "table", 1000, check=False) for family in ("-4", "-6"))

    with Daemon(namespace, config, directory), (directory / "controller.log").open("w") as output:
        confined = namespace.command(*unit.command(directory, line, wrapper=trace.wrapper))
        process = subprocess.Popen(list(map(str, confined)), stdout=output, stderr=output)
        try:
            systemd.wait("READY=1")
            systemd.wait("WATCHDOG=1")
            routing.until(lambda: "203.0.113.10" in routes() and "2001:db8:f::10" in routes(), what=log)
            bird = directory / "bird/bird.conf"
            routing.until(bird.exists, what=log)
            assert (bird.stat().st_gid, bird.stat().st_mode & 0o777) == (GROUP.gr_gid, 0o640)
            assert "neighbor 192.0.2.254 as 65000" in bird.read_text()
            # What is missing is put back, rules too.
            routing.ip(namespace, "route", "flush", "table", 1000)
            routing.ip(namespace, "rule", "flush")
            routing.until(lambda: "203.0.113.10" in routes(), what=log)
            routing.until(lambda: "lookup main" in routing.ip(namespace, "rule", "show"), what=log)
            ctl("vip", "withdraw", "203.0.113.10", "--reason", "a test")
            assert "203.0.113.10" not in routes() and "2001:db8:f::10" in routes()
            assert "203.0.113.10" in (directory / "state/orders.json").read_text()
            for groups, expected in ([GROUP.gr_gid], 0), ([], 3):
                assert ask_as_nobody(control, *groups, request=["node", "show"]).returncode == expected
            process.terminate()
            assert process.wait(10) == 0, log()
            systemd.wait("STOPPING=1")
        finally:
            process.kill()
            process.wait()
        assert "2001:db8:f::10" in routes()
    assert not re.search("not permitted|denied|Read-only", log()), log()
    trace.wait(process.pid)
    trace.check(unit)
