#!/usr/bin/python3
"""The cases of the virtual machine: the lab over each network card in turn.

    ci/vm/cases.py [--all | CASE...]    runs cases, in the guest; exits 1 if one failed
    ci/vm/cases.py --list               prints their names; the short set is marked
    ci/vm/cases.py --check [...]        only checks the arguments

Writes /out/results.json, and beside it the log and the configuration of each forwarder.
"""

import argparse
import json
import re
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import report
import trials
from guest import Guest, Lab
from nics import NICS

OUT = Path("/out")
HUGE_PAGES = 600  # of 2 MiB


@dataclass(frozen=True)
class Case:
    name: str
    # The card, or for a bond its members, the first active.
    nics: tuple[str, ...]
    short: bool = False
    workers: str = "2 3"
    # Options of ci/lab.sh beyond those that all cases have.
    options: tuple[str, ...] = ()
    connections: int = 1000
    # A trial beside the connections: a function of trials.py.
    trial: object = None
    # The device spreads flows over its queues by a hash, so each worker gets a fair share of the packets.
    spreads: bool = False
    # The forwarder may refuse to start, with a reason.
    may_refuse: bool = False
    binding: str = "vfio-pci"
    tunnels: str = "kernel"
    encapsulation: str = "gre"


def cases():
    for nic in ("virtio-rss", "igb"):
        yield Case(nic, (nic,), short=True, spreads=True)
        yield Case(f"{nic}, 3 workers", (nic,), workers="1 2 3", spreads=nic == "igb")
        yield Case(f"{nic}, interrupt", (nic,), short=nic == "virtio-rss", options=("--idle", "interrupt"), spreads=True)
    yield Case("virtio-rss, poll", ("virtio-rss",), options=("--idle", "poll"), spreads=True)
    yield Case("virtio-rss, ring", ("virtio-rss",), short=True, options=("--steering", "ring"))
    yield Case("virtio-rss, killed", ("virtio-rss",), trial=trials.kill)
    yield Case("virtio-rss, fragments", ("virtio-rss",), short=True, trial=trials.fragments)
    yield Case("virtio-rss, checks", ("virtio-rss",), short=True, connections=200, trial=trials.checks)
    for encapsulation in ("ipip", "gue", "gue0", "gre-udp", "vxlan", "geneve", "mpls-udp", "mpls-gre"):
        keys = {"encapsulation": encapsulation, "connections": 200, "trial": trials.checks}
        yield Case(f"virtio-rss, {encapsulation}", ("virtio-rss",), **keys)
    yield Case("virtio-rss, agent", ("virtio-rss",), tunnels="agent")
    yield Case("igb, uio", ("igb",), binding="uio_pci_generic", spreads=True)
    yield Case("virtio-mq", ("virtio-mq",))
    yield Case("virtio-mq, ring", ("virtio-mq",), short=True, options=("--steering", "ring"))
    yield Case("e1000e", ("e1000e",), short=True)
    # Of two workers, one receives by a ring, which does not interrupt.
    yield Case("e1000e, interrupt", ("e1000e",), workers="2", options=("--idle", "interrupt"))
    yield Case("vmxnet3", ("vmxnet3",), short=True)
    yield Case("vmxnet3, ring", ("vmxnet3",), options=("--steering", "ring"))
    for nic in ("virtio-rss", "igb", "e1000e", "vmxnet3"):
        yield Case(f"{nic}, link", (nic,), short=nic == "virtio-rss", connections=200, trial=trials.link)
    for nic in ("virtio-rss", "igb"):
        yield Case(f"{nic}, node", (nic,), short=True, connections=200, trial=trials.node)
        yield Case(f"{nic}, VLAN", (nic,), short=nic == "igb", connections=200, trial=trials.vlan, tunnels="agent")
    for mtu in (1500, 4000, 9000):
        for nic in ("virtio-rss", "igb", "e1000e"):
            options = ("--fabric-mtu", str(mtu), "--clients-mtu", str(mtu))
            yield Case(
                f"{nic}, MTU {mtu}", (nic,), options=options, connections=200, trial=trials.sizes, may_refuse=mtu > 1500
            )
    yield Case("bond", ("igb", "e1000e"), short=True, connections=200, trial=trials.fail_over)


CASES = {case.name: case for case in cases()}


def chosen():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("case", nargs="*")
    options = parser.parse_args()
    unknown = [name for name in options.case if name not in CASES]
    if unknown or (options.all and options.case):
        parser.error(f"no case {unknown[0]!r}; see --list" if unknown else "either --all or cases")
    if options.list:
        for case in CASES.values():
            print(f"{case.name}{'  (short set)' if case.short else ''}")
    if options.list or options.check:
        sys.exit()
    if options.case:
        return [CASES[name] for name in options.case]
    return [case for case in CASES.values() if options.all or case.short]


def device(case):
    if len(case.nics) == 1:
        return NICS[case.nics[0]].address
    members = ",".join(f"member={NICS[name].address}" for name in case.nics)
    return f"net_bonding0,mode=1,{members}"


def judge(case, record):
    """Adds to the record what is wrong with the result of a case."""
    wrong = record["wrong"]
    if record.get("refused"):
        if not case.may_refuse:
            wrong.append(f"the forwarder did not start: {record['refused']}")
        return
    if record["driver"] != (NICS[case.nics[0]].driver if len(case.nics) == 1 else "net_bonding"):
        wrong.append(f"the driver is {record['driver']}")
    if record["connections"] != case.connections or record["failed"]:
        wrong.append(f"{record['failed']} of {record['connections']} connections failed: {record['errors']}")
    packets = record["packets"]
    if case.spreads and min(packets) < sum(packets) / len(packets) * 2 / 3:
        wrong.append(f"a worker has less than two thirds of its share of the packets: {packets}")
    if not record["link"]["up"]:
        wrong.append(f"the link is {record['link']}")
    if "interrupt" in case.options and not record["interrupts"]:
        wrong.append("no worker waits for interrupts")
    if record["status"] != 0 or not record["buffers_back"]:
        wrong.append(f"the forwarder ended with status {record['status']}; see its log")
    if not record["huge_pages_back"]:
        wrong.append("huge pages are still taken")


def run(guest, case):
    """Runs a case. Returns the record of its results."""
    record = {"case": case.name, "cards": list(case.nics), "wrong": [], "notes": []}
    begun = time.monotonic()
    try:
        for name in case.nics:
            guest.bind(NICS[name].address, case.binding)
        record["binding"] = case.binding
        options = [
            *("--device", device(case), "--uplink", "eth0", "--hugepages", "--workers", case.workers),
            *("--tunnels", case.tunnels, "--encapsulation", case.encapsulation, *case.options),
        ]
        with Lab(options, OUT / case.name.replace(", ", "-").replace(" ", "-")) as lab:
            if lab.refusal:
                record["refused"] = lab.refusal
            else:
                measure(guest, lab, case, record)
                record |= lab.stop()
        record["huge_pages_back"] = guest.huge_pages_free() == HUGE_PAGES
        judge(case, record)
    except Exception as error:  # a case that fails must not keep the others from running
        traceback.print_exc()
        record["wrong"].append(f"{type(error).__name__}: {error}")
    record["seconds"] = round(time.monotonic() - begun)
    return record


def measure(guest, lab, case, record):
    driven = lab.drive(case.connections)
    record |= {"connections": driven["connections"], "failed": driven["failed"] + driven["uploads_failed"]}
    record["errors"] = driven["errors"]
    # Before a trial that restarts it.
    record["packets"] = [worker["received"] for worker in lab.ctl("worker", "list")]
    if case.trial:
        case.trial(guest, lab, case, record)
    [port] = lab.ctl("port", "list")
    record |= {"driver": port["driver"], "queues": [port["rx_queues"], port["tx_queues"]], "steering": port["steering"]}
    record |= {"link": port["link"], "rx_function": port["rx_function"], "tx_function": port["tx_function"]}
    record["rss"] = "".join(re.findall("flows are spread by RSS over (.*)", lab.log())[-1:])
    record["interrupts"] = "interrupt" in case.options and "instead of waiting for interrupts" not in lab.log()


def main():
    todo = chosen()
    guest = Guest()
    guest.reserve(HUGE_PAGES)
    results = []
    for case in todo:
        record = run(guest, case)
        results.append(record)
        said = "; ".join(record["wrong"]) or record.get("refused", "ok")
        print(f"{len(results)} of {len(todo)}  {case.name}: {said} ({record['seconds']} s)", flush=True)
        (OUT / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    print(report.table(results))
    return 1 if any(record["wrong"] for record in results) else 0


if __name__ == "__main__":
    sys.exit(main())
