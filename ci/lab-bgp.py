#!/usr/bin/python3
"""The lab of announcements: two nodes that announce the same virtual addresses to a router, in network namespaces.

    ci/lab-bgp.py up [--router bird|frr] [--dir D] [--bin B]     brings it up, leaves it up, prints what to try
    ci/lab-bgp.py down [--dir D]                                  takes it down

tests/support/fleet.py draws it. A process in the background holds it, starts BIRD again when that ends, as systemd would,
and takes everything down when it ends. D (default /run/guideway-lab-bgp) has the configurations, sockets and logs, and
only one lab can be up. Needs root.
"""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

# The namespaces' prefix.
PREFIX = "gw-bgp"
READY = b"ready\n"

# Seconds from the end of a forwarder or controller until it is started again: time to see what its end does.
PAUSE = 5

WHAT_TO_TRY = """
The lab is up; its files and logs are in {dir}. As root, try:

  a page, over IPv4 and IPv6        {client} curl http://{vip4}/
                                    {client} curl 'http://[{vip6}]/'
  the ways of the router            {router} ip route show {vip4}
                                    {router} ip -6 route show {vip6}
                                    {router} ip -ts monitor route
  what the router knows             {router_shell}
  what lb1 announces, and why       {dir}/lb1/guidewayctl vip list
                                    {dir}/lb1/guidewayctl node show
  its sessions                      {dir}/lb1/guidewayctl bgp list
                                    {dir}/lb1/guidewayctl bgp show tor4
  its forwarder                     {dir}/lb1/guidewayctl status
  what its checks say               {dir}/lb1/guidewayctl check list
                                    {dir}/lb1/guidewayctl check run page/s1
  a server loses its address        ip -n {prefix}-s1 address del {vip4}/32 dev lo
                                    ip -n {prefix}-s1 address add {vip4}/32 dev lo
  an address leaves lb1             {dir}/lb1/guidewayctl vip drain {vip4}
                                    {dir}/lb1/guidewayctl vip withdraw {vip4} --reason 'for a test'
                                    {dir}/lb1/guidewayctl vip announce {vip4}
  lb1 leaves the fleet              {dir}/lb1/guidewayctl node drain
                                    {dir}/lb1/guidewayctl node undrain
  an address without a service      {dir}/lb1/guidewayctl vip announce 203.0.113.77
  a forwarder dies                  kill -9 $(pgrep -f 'guideway run --config {dir}/lb1/')
  a controller dies                 kill -9 $(pgrep -f 'guideway-controller --forwarder {dir}/lb2/')
                                    (nothing else changes; either is started again after {pause} s)
  BIRD dies                         kill -9 $(pgrep -f 'bird -f -c {dir}/lb2/')
  a cable is pulled                 ip -n {prefix}-switch link set {end2} down
                                    ip -n {prefix}-switch link set {end2} up
  logs                              tail -f {dir}/lb1/controller.log {dir}/lb1/guideway.log

Take it down with: make lab-bgp-down
"""

# Asks whichever daemon of a node the command is for.
ASK = """#!/bin/sh
export GUIDEWAY_SOCKET={forwarder} GUIDEWAY_CONTROLLER_SOCKET={controller}
exec {program} "$@"
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=("up", "down"))
    parser.add_argument("--dir", type=Path, default=Path("/run/guideway-lab-bgp"))
    parser.add_argument("--bin", type=Path, default=ROOT / "target" / "release")
    parser.add_argument("--router", choices=("bird", "frr"), default="bird")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("lab-bgp: needs root")
    os.umask(0o022)
    if options.action == "up":
        up(options)
    else:
        down(options.dir)


def holder(directory):
    """The process that holds the lab, or None. A number may have become another process's."""
    try:
        number, start = (directory / "pid").read_text().split()
    except FileNotFoundError:
        return None
    return int(number) if started(number) == start else None


def started(number):
    """When a process was started, as the kernel counts; None if there is none, or only its exit status is left."""
    try:
        state, *rest = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
        return None if state == "Z" else rest[18]
    except (FileNotFoundError, ProcessLookupError):
        return None


def up(options):
    if holder(options.dir):
        sys.exit(f"lab-bgp: a lab is up in {options.dir}; take it down with: {sys.argv[0]} down --dir {options.dir}")
    shutil.rmtree(options.dir, ignore_errors=True)
    options.dir.mkdir(parents=True)
    os.environ["GUIDEWAY_BIN_DIR"] = str(options.bin)
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(reader)
        os.setsid()
        sys.exit(hold(options, writer))
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    if not said.startswith(READY):
        sys.exit(f"lab-bgp: the lab did not come up: {said.decode()}")
    print(said.removeprefix(READY).decode())


def hold(options, writer):
    """Holds the lab until SIGTERM. Returns the process's exit status."""
    log = os.open(options.dir / "lab.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for descriptor, source in ((0, os.open("/dev/null", os.O_RDONLY)), (1, log), (2, log)):
        os.dup2(source, descriptor)
    asked = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: asked.append(number))
    (options.dir / "pid").write_text(f"{os.getpid()} {started(os.getpid())}\n")
    try:
        with contextlib.ExitStack() as stack:
            fleet = make(options, stack)
            os.write(writer, READY + describe(options, fleet).encode())
            os.close(writer)
            watch(fleet, asked)
        return 0
    except BaseException:
        with contextlib.suppress(OSError):
            os.write(writer, traceback.format_exc().encode())
        traceback.print_exc()
        return 1
    finally:
        (options.dir / "pid").unlink()


def watch(fleet, asked):
    """Starts again what has ended, until the lab is asked to end."""
    due = {}
    while not asked:
        for node in fleet.nodes:
            for program, start in ((node.daemon, node.daemon.launch), (node.controller, node.controller.start)):
                if program.process.poll() is None:
                    due.pop(program, None)
                elif time.monotonic() > due.setdefault(program, time.monotonic() + PAUSE):
                    start()
        time.sleep(0.2)


def make(options, stack):
    """The lab, with a page at each server, once the router knows both nodes."""
    from support.checks import Checker, check, probed
    from support.fleet import FAST, Fleet
    from support.hosts import wait_until

    def with_checks(config):
        probed(config, [check("page", "http", interval=1000, timeout=500)], int(config["node"]["name"].removeprefix("lb")))
        config.pool()["checks"] = ["page"]

    bfd = FAST if options.router == "bird" else None
    fleet = stack.enter_context(Fleet(options.dir, options.router, prefix=PREFIX, bfd=bfd, change=with_checks))
    for name, host in fleet.servers.items():
        pages = options.dir / name
        pages.mkdir()
        (pages / "index.html").write_text(name + "\n")
        line = ("/usr/bin/python3", "-m", "http.server", "80", "--bind", "::", "--directory", pages)
        host.start(*line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for node in fleet.nodes:
        sockets = {"forwarder": node.daemon.socket, "controller": node.controller.socket}
        ask = node.directory / "guidewayctl"
        ask.write_text(ASK.format(program=options.bin.resolve() / "guidewayctl", **sockets))
        ask.chmod(0o755)
    fleet.wait_for(fleet.nodes, 30)
    for node in fleet.nodes:
        wait_until(lambda of=node: all(peer["bfd_up"] for peer in of.controller.sessions().values()), 10, node.log)
        checker = Checker(node)
        checker.wait_for(dict.fromkeys(fleet.servers, "up"), "page")
    return fleet


def describe(options, fleet):
    """What is printed about the lab."""
    from support.packets import VIP

    shown = [fleet.router.namespace.ip(f"-{version}", "route", "show", vip) for version, vip in VIP.items()]
    for node in fleet.nodes:
        for listing in (("vip", "list"), ("bgp", "list"), ("check", "list")):
            done = node.controller.ctl(*listing, output="table")
            shown += [f"{node.name}: guidewayctl {' '.join(listing)}", done.stdout + done.stderr]
    ask = {"bird": f"birdc -s {fleet.router.directory}/bird.ctl show route all"}
    ask["frr"] = f"vtysh --vty_socket {fleet.router.directory} -c 'show bgp ipv4 unicast'"
    tries = WHAT_TO_TRY.format(
        dir=options.dir,
        prefix=PREFIX,
        client=f"ip netns exec {PREFIX}-client",
        router=f"ip netns exec {PREFIX}-router",
        router_shell=ask[options.router],
        vip4=VIP[4],
        vip6=VIP[6],
        pause=PAUSE,
        end2=fleet.nodes[1].end,
    )
    return "\n".join(shown) + tries


def down(directory):
    number = holder(directory)
    if number is None:
        sys.exit(f"lab-bgp: no lab is up in {directory}")
    os.kill(number, signal.SIGTERM)
    start, end = started(number), time.monotonic() + 60
    while start and started(number) == start:
        if time.monotonic() > end:
            sys.exit(f"lab-bgp: process {number} does not end; see {directory}/lab.log")
        time.sleep(0.1)
    print((directory / "lab.log").read_text(), end="")


if __name__ == "__main__":
    main()
