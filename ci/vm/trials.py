"""The trials of the virtual machine beside connections. Each is a function of (guest, lab, case, record) that adds
its findings and errors to the record.

Run as a program in a namespace, this file is the trials' client:

    trials.py probe ADDRESS PORT                 a datagram each 10 ms until its input ends; prints "replied" after
                                                 ten replies, and at the end the times of all
    trials.py echo ADDRESS PORT BYTES COUNT      COUNT datagrams, each from its own port; prints the replies
    trials.py forsake ADDRESS PORT COUNT         the same, but its sockets are closed when the replies come
"""

import contextlib
import itertools
import json
import re
import select
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from guest import PROJECT, run

sys.path.append(str(PROJECT / "tests"))
from support.bird import Bird, Session

SELF = __file__
PYTHON = "/usr/bin/python3"
# Traffic resumes within this time after the link is back.
RESUMES = 1.0
MAXIMUM_PING = 8900


def client(lab, *words):
    return lab.within("clients", PYTHON, SELF, *words)


def vips(lab):
    return [lab.environment["LAB_VIP4"], lab.environment["LAB_VIP6"]]


def ask(lab, *words):
    done = subprocess.run(client(lab, *words), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def kill(_guest, lab, case, record):
    """A forwarder that is killed does not hinder the next one."""
    lab.kill()
    lab.start()
    if lab.refusal:
        record["wrong"].append(f"after SIGKILL: {lab.refusal}")
        return
    driven = lab.drive(case.connections)
    record["notes"].append(f"after SIGKILL and a start: {driven['failed']} of {driven['connections']} failed")
    if driven["failed"]:
        record["wrong"].append(f"after SIGKILL: {driven['errors']}")


def link(guest, lab, case, record):
    """The cable is unplugged and plugged in: log and listing show it, and traffic resumes."""
    [nic] = case.nics
    probe = start_probe(lab)
    guest.set_link(nic, False)
    time.sleep(2)
    down = lab.ctl("port", "list")[0]["link"]
    guest.set_link(nic, True)
    plugged = time.monotonic()
    replies = finish_probe(probe)
    after = [at for at in replies if at > plugged]
    said = [line for line in lab.log().splitlines() if re.search("link (up|down)", line)]
    if down["up"]:
        record["wrong"].append(f"without a cable the link is {down}")
    if not after or after[0] - plugged > RESUMES:
        resumed = f"{after[0] - plugged:.2f} s" if after else "never"
        record["wrong"].append(f"traffic resumed: {resumed}")
    else:
        record["notes"].append(f"cable out and in: traffic resumed after {(after[0] - plugged) * 1000:.0f} ms")
    if len(said) < 2 or "down" not in said[-2] or "up" not in said[-1]:
        record["wrong"].append(f"the log says of the link: {said}")


def node(guest, lab, case, record):
    """The node among its neighbours: pings, and BGP with BFD, under connections and over a lost link."""
    for address in (lab.environment["LAB_LB4"], lab.environment["LAB_LB6"]):
        ping(lab, address, 56, record)
    with contextlib.ExitStack() as stack:
        birds = [stack.enter_context(bird) for bird in make_birds(lab)]
        record["notes"].append(f"BGP sessions with BFD are up after {max(bird.wait(60) for bird in birds):.1f} s")
        before = [len(bird.log()) for bird in birds]
        driven = lab.drive(case.connections)
        lost = [line for bird, since in zip(birds, before, strict=True) for line in bird.losses(since)]
        if lost or driven["failed"]:
            record["wrong"].append(f"under connections: {lost}, {driven['failed']} failed")
        link(guest, lab, case, record)
        record["notes"].append(f"after the lost link the sessions are up in {max(bird.wait(60) for bird in birds):.1f} s")
        routes = run(*lab.within("lb", "ip", "route", "show", "10.78.0.0/16")).stdout
        if "dev edge0 proto bird" not in routes:
            record["wrong"].append(f"the kernel has no route that BGP announced: {routes!r}")
    [interface] = lab.ctl("interface", "list")
    if interface["state"] != "up" or interface["interface"] != "edge0":
        record["wrong"].append(f"the interface is {interface}")


def make_birds(lab):
    """BIRD at the node and at the server s1, which announces a prefix. The emulated machine is slow: BFD waits 2 s."""
    lb4, lb6, s1 = (lab.environment[f"LAB_{name}"] for name in ("LB4", "LB6", "S1_V4"))
    directory = Path(tempfile.mkdtemp())
    ends = (("four", lb4, s1, ["10.78.0.0/16"]), ("six", lb6, lab.environment["LAB_S1_V6"], []))
    for namespace, router, numbers in (("lb", lb4, (65001, 65000)), ("s1", s1, (65000, 65001))):
        is_node = namespace == "lb"
        sessions = [
            Session(name, *((own, other) if is_node else (other, own)), *numbers, announced=[] if is_node else prefixes)
            for name, own, other, prefixes in ends
        ]
        yield Bird(Place(lab, namespace), directory, router, *sessions, multiplier=20)


class Place:
    """A namespace of the lab, as tests/support/bird.py wants it."""

    def __init__(self, lab, namespace):
        self.lab = lab
        self.namespace = namespace

    def start(self, *words, **options):
        return subprocess.Popen(self.lab.within(self.namespace, *words), **options)


def vlan(_guest, lab, case, record):
    """A backend that the kernel routes over a VLAN device on the port's interface."""
    place, router, backend = "10.200.0.1/24", "10.200.0.2", "10.77.0.1"
    for namespace, device, address in (("lb", "edge0", place), ("s1", "s0", f"{router}/24")):
        name = f"{device}.200"
        for words in (
            ("link", "add", "link", device, "name", name, "type", "vlan", "id", 200),
            ("address", "add", address, "dev", name),
            ("link", "set", name, "up"),
        ):
            run(*lab.within(namespace, "ip", *words))
    run(*lab.within("s1", "ip", "address", "add", f"{backend}/32", "dev", "lo"))
    run(*lab.within("lb", "ip", "route", "add", f"{backend}/32", "via", router))
    text = lab.config.read_text()
    changed = text.replace(f'"{lab.environment["LAB_S1_V4"]}"', f'"{backend}"')
    assert changed != text, "the server s1 is not in the configuration"
    applied = lab.keep.with_suffix(".vlan.toml")
    applied.write_text(changed)
    lab.ctl("config", "apply", applied)
    end = time.monotonic() + 20
    while (route := lab.ctl("route", "show", "web/s1"))["next_hop"]["state"] != "resolved":
        if time.monotonic() > end:
            record["wrong"].append(f"the route over the VLAN device: {route}")
            return
        time.sleep(0.2)
    if route["next_hop"].get("vlan") != 200:
        record["wrong"].append(f"the next hop has no VLAN: {route}")
    before = arrived(lab, "s1", "s0.200")
    driven = lab.drive(case.connections)
    packets = arrived(lab, "s1", "s0.200") - before
    failed = f"{driven['failed']} of {driven['connections']} failed"
    record["notes"].append(f"a backend over edge0.200: {failed}, {packets} tagged packets")
    if driven["failed"] or packets < case.connections:
        record["wrong"].append(f"over the VLAN device: {driven['errors']}, {packets} packets")


def arrived(lab, namespace, device):
    """Packets that a device has received."""
    shown = json.loads(run(*lab.within(namespace, "ip", "-j", "-s", "link", "show", "dev", device)).stdout)
    return shown[0]["stats64"]["rx"]["packets"]


def checks(_guest, lab, case, record):
    """Probes through the tunnels that the servers' kernels take off, to the virtual addresses of both families."""
    tunnels, direct = ("four", "six"), ("direct",)
    lab.stop()
    lab.config.write_text(with_checks(lab))
    lab.start()
    if lab.refusal:
        record["wrong"].append(f"with checks: {lab.refusal}")
        return
    with Checker(lab) as checker:
        took = checker.wait({(check, server): "up" for check in (*tunnels, *direct) for server in SERVERS}, record)
        record["notes"].append(f"checks through {case.encapsulation}: all up after {took:.1f} s")
        driven = lab.drive(case.connections)
        if driven["failed"]:
            record["wrong"].append(f"beside checks: {driven['errors']}")
        # Without its tunnels a server still answers at its own address.
        devices = tunnel_devices(lab, "s1")
        for state, wanted in (("down", "down"), ("up", "up")):
            for device in devices:
                run(*lab.within("s1", "ip", "link", "set", device, state))
            became = {(check, "s1"): wanted for check in tunnels} | {("direct", "s1"): "up"}
            became |= {(check, server): "up" for check in (*tunnels, *direct) for server in ("s2", "s3")}
            took = checker.wait(became, record)
            record["notes"].append(f"{', '.join(devices)} {state}: {wanted} after {took:.1f} s")


SERVERS = ("s1", "s2", "s3")
# Where probes come from.
PROBES = ("192.0.2.101/24", "2001:db8:1::101/64")
CHECKS = """
[[check]]
name = "four"
kind = "http"

[[check]]
name = "six"
kind = "http"
address = "{vip6}"

[[check]]
name = "direct"
kind = "http"
via = "direct"
"""


def with_checks(lab):
    """The lab's configuration, with checks of its pool. A guest that is emulated needs time."""
    text = CHECKS.format(vip6=lab.environment["LAB_VIP6"]).replace("kind =", "interval = 2000\ntimeout = 1800\nkind =")
    sources = ", ".join(f'"{address.partition("/")[0]}"' for address in PROBES)
    own = ", ".join(f'"{address}"' for address in PROBES)
    changes = (
        (r"^tunnel_source = .*$", rf"\g<0>\ncheck_source = [{sources}]"),
        (r"^addresses = \[(.*)\]$", rf"addresses = [\1, {own}]"),
        (r"^\[\[pool\]\]$", r'\g<0>\nchecks = ["four", "six", "direct"]\npanic_threshold = 100'),
    )
    config = lab.config.read_text()
    for pattern, replacement in changes:
        config, count = re.subn(pattern, replacement, config, flags=re.MULTILINE)
        assert count == 1, f"{pattern}: {count} times"
    return config + text


def tunnel_devices(lab, server):
    shown = json.loads(run(*lab.within(server, "ip", "-j", "link", "show")).stdout)
    return [link["ifname"] for link in shown if link["ifname"].startswith("tun-")]


class Checker:
    """The controller beside the lab's forwarder, from entry to exit."""

    def __init__(self, lab):
        self._lab = lab
        self._base = lab.config.parent / "controller"

    def __enter__(self):
        program = PROJECT / "target/release/guideway-controller"
        line = [program, "--forwarder", self._lab.environment["LAB_SOCKET"], "--socket", self._socket()]
        line += ["--state-directory", f"{self._base}.state"]
        with self._lab.keep.with_suffix(".controller.log").open("w") as log:
            self._process = subprocess.Popen(self._lab.within("lb", *line), stdout=log, stderr=log)
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(20)

    def _socket(self):
        return f"{self._base}.sock"

    def states(self):
        """By check and server; none before the controller answers."""
        program = PROJECT / "target/release/guidewayctl"
        line = self._lab.within("lb", program, "--socket", self._socket(), "-o", "json", "check", "list")
        done = run(*line, check=False)
        rows = json.loads(done.stdout)["rows"] if done.returncode == 0 else []
        return {(row["check"], row["backend"]): row["state"] for row in rows}

    def wait(self, wanted, record, seconds=90):
        """Waits for exactly these states. Returns the seconds that it took."""
        begin = time.monotonic()
        while (states := self.states()) != wanted:
            if time.monotonic() > begin + seconds:
                record["wrong"].append(f"checks: {states} in place of {wanted}")
                break
            time.sleep(0.5)
        return time.monotonic() - begin


def fail_over(guest, lab, case, record):
    """The active member of a bond loses its link under traffic."""
    probe = start_probe(lab)
    guest.set_link(case.nics[0], False)
    pulled = time.monotonic()
    try:
        driven = lab.drive(200)
        replies = finish_probe(probe)
    finally:
        guest.set_link(case.nics[0], True)
    after = [at for at in replies if at > pulled]
    gap = max((later - earlier for earlier, later in itertools.pairwise(replies)), default=99)
    if not after or driven["failed"]:
        record["wrong"].append(f"after the failover {driven['failed']} connections failed: {driven['errors']}")
    failed = f"{driven['failed']} connections failed"
    record["notes"].append(f"failover under traffic: {gap * 1000:.0f} ms without an answer, {failed}")


def fragments(_guest, lab, _case, record):
    """Fragments and ICMP errors reach the worker that has their flow."""
    port = lab.environment["LAB_ECHO_PORT"]
    for vip in vips(lab):
        replied = ask(lab, "echo", vip, port, 4000, 100)
        if replied != 100:
            record["wrong"].append(f"{100 - replied} of 100 datagrams in fragments to {vip} have no reply")
    # The kernel of a client would limit the number of these errors.
    run(*lab.within("clients", "sysctl", "-qw", "net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0"))
    before = unreachables(lab)
    for vip in vips(lab):
        ask(lab, "forsake", vip, port, 50)
    time.sleep(2)
    arrived = unreachables(lab) - before
    record["notes"].append(f"200 fragmented datagrams answered; {arrived} of 100 ICMP errors at the servers that they are about")
    if arrived < 95:
        record["wrong"].append(f"only {arrived} of 100 ICMP errors have arrived")


def unreachables(lab):
    """ICMP errors about their replies that all servers have received."""
    total = 0
    for server in ("s1", "s2", "s3"):
        done = subprocess.run(lab.within(server, "nstat", "-asz", "--json"), capture_output=True, text=True, timeout=30)
        counters = json.loads(done.stdout)["kernel"]
        total += counters["IcmpInDestUnreachs"] + counters["Icmp6InDestUnreachs"]
    return total


def sizes(_guest, lab, case, record):
    """Pings and datagrams of all sizes that fit in a tunnel. The forwarder replies to pings, and balances datagrams."""
    port = lab.environment["LAB_ECHO_PORT"]
    mtu = int(case.options[case.options.index("--clients-mtu") + 1])
    outer = 44  # GRE over IPv6, the longest tunnel of the lab
    for vip in vips(lab):
        header = 48 if ":" in vip else 28
        # The clients have learned the path MTU from uploads.
        longest = min(MAXIMUM_PING, mtu - header - outer)
        for size in (64, 700, 1000, 1400, 2000, 2022, 2048, 3000, 4000, 5000, 8000, longest):
            if size > longest:
                continue
            ping(lab, vip, size, record)
            if ask(lab, "echo", vip, port, size, 5) != 5:
                record["wrong"].append(f"datagrams of {size} bytes to {vip} have no reply")
        record["notes"].append(f"pings and datagrams of 64 to {longest} bytes to {vip} at MTU {mtu}")


def ping(lab, vip, size, record):
    line = lab.within("clients", "ping", "-c", 3, "-i", "0.1", "-W", 2, "-M", "do", "-s", size, vip)
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    if " 0% packet loss" not in done.stdout:
        record["wrong"].append(f"pings of {size} bytes to {vip}: {done.stdout.splitlines()[-1:]}")


def start_probe(lab):
    """A probe that has received replies."""
    port = lab.environment["LAB_ECHO_PORT"]
    line = client(lab, "probe", vips(lab)[0], port)
    started = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert started.stdout.readline() == "replied\n", "the probe has no reply"
    return started


def finish_probe(probe, seconds=4):
    """Waits so many seconds. Returns the times of the replies."""
    time.sleep(seconds)
    said, _ = probe.communicate(timeout=60)
    return json.loads(said)


def connected(address, port):
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    made.connect((address, int(port)))
    return made


def probe(address, port):
    times = []
    client = connected(address, port)
    client.settimeout(0.01)
    while not select.select([sys.stdin], [], [], 0.01)[0]:
        try:
            client.send(b"probe")
            client.recv(100)
            times.append(time.monotonic())
        except OSError:
            continue
        if len(times) == 10:
            print("replied", flush=True)
    return times


def echo(address, port, size, count):
    replied = 0
    for number in range(int(count)):
        with connected(address, port) as client:
            client.settimeout(3)
            sent = str(number).encode().ljust(int(size), b".")
            client.send(sent)
            with contextlib.suppress(TimeoutError):
                replied += client.recv(65535).partition(b" ")[2] == sent
    return replied


def forsake(address, port, count):
    for _ in range(int(count)):
        with connected(address, port) as client:
            client.send(b"never mind")
        time.sleep(0.02)
    return count


if __name__ == "__main__":
    print(json.dumps({"probe": probe, "echo": echo, "forsake": forsake}[sys.argv[1]](*sys.argv[2:])))
