"""Each way in which a server fails, and the code that its checks have for it, by the tunnel and directly.

One backend has a port for each way. Every check of it ends within its timeout, whatever the server does.
"""

import contextlib
import datetime
import json
import re
import subprocess
import tempfile
from pathlib import Path

import pytest
from support import binaries
from support.certificates import Authority
from support.checks import Rig, check, pool, service
from support.hosts import PYTHON, wait_until
from support.nodes import CONTROLLER
from support.packets import VIP
from support.prometheus import get, samples

PROGRAM = binaries.ROOT / "tests" / "support" / "hostile.py"
TIMEOUT = 300  # milliseconds
# What a probe may take longer than its timeout: the tests share the machine.
SLACK = 100
# Ports of the server. Nobody listens at CLOSED.
PORTS = {name: 7000 + n for n, name in enumerate(
    ("silence", "reset", "reset-inside", "close", "drip", "drip-body", "garbage", "banner")
)}  # fmt: skip
CLOSED, VALID, EXPIRED, OTHER, BAD, BODY = 7100, 7443, 7444, 7445, 7080, 7081
NAME = "www.example.com"
NOW = datetime.datetime.now(datetime.UTC)
ENDS = {
    VALID: NOW + datetime.timedelta(days=30),
    EXPIRED: NOW - datetime.timedelta(days=30),
    OTHER: NOW + datetime.timedelta(days=30),
}

HTTPS = """
    server {{
        listen {port} ssl;
        listen [::]:{port} ssl;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        location / {{ return 200 "well\\n"; }}
    }}
"""
HTTP = """
    server {{
        listen {bad};
        listen [::]:{bad};
        location / {{ return 503; }}
        location /elsewhere {{ return 302 http://{vip}/; }}
        location /gone {{ return 404; }}
    }}
    server {{
        listen {body};
        listen [::]:{body};
        location / {{ add_header X-Drain yes; return 200 "all is well\\n"; }}
    }}
"""

# By the check's name: its kind, port and other keys, the codes that are right, and words of the reason.
CASES = {
    "open": ("tcp", 80, {}, "L4OK", ""),
    "refused": ("tcp", CLOSED, {}, "L4CON", "refused"),
    "accepts": ("tcp", PORTS["silence"], {}, "L4OK", ""),
    "page": ("http", 80, {}, "L7OK", ""),
    "ping": ("ping", None, {}, "L4OK", ""),
    # HTTP.
    "unavailable": ("http", BAD, {}, "L7STS", ""),
    "redirects": ("http", BAD, {"path": "/elsewhere", "statuses": ["200-299"]}, "L7STS", ""),
    "redirects-well": ("http", BAD, {"path": "/elsewhere"}, "L7OK", ""),
    "silent": ("http", PORTS["silence"], {}, "L7TOUT", ""),
    "resets": ("http", PORTS["reset"], {}, "L7RSP", "reset"),
    "resets-inside": ("http", PORTS["reset-inside"], {"expect": "well"}, "L7RSP", ""),
    "closes": ("http", PORTS["close"], {}, "L7RSP", ""),
    "drips": ("http", PORTS["drip"], {}, "L7TOUT", ""),
    "drips-body": ("http", PORTS["drip-body"], {"expect": "these"}, "L7TOUT", ""),
    "talks-garbage": ("http", PORTS["garbage"], {}, "L7RSP", ""),
    "unreached": ("http", CLOSED, {}, "L4CON", "refused"),
    "matches": ("http", BODY, {"expect": "is well"}, "L7OK", ""),
    "mismatches": ("http", BODY, {"expect": "is unwell"}, "L7RSP", ""),
    "asks-by-status": ("http", BAD, {"path": "/gone", "expect_drain": ["404"]}, "L7OKC", ""),
    "asks-by-header": ("http", BODY, {"expect_drain": ["X-Drain: yes"]}, "L7OKC", ""),
    # TLS.
    "hello": ("tls", VALID, {"sni": NAME}, "L6OK", ""),
    "hello-expired": ("tls", EXPIRED, {"sni": NAME}, "L6OK", ""),
    "hello-verified": ("tls", VALID, {"sni": NAME, "verify": True}, "L6OK", ""),
    "hello-silent": ("tls", PORTS["silence"], {}, "L6TOUT", ""),
    "hello-plain": ("tls", 80, {}, "L6RSP", ""),
    "hello-reset": ("tls", PORTS["reset"], {}, "L6RSP", ""),
    "secure": ("https", VALID, {"sni": NAME, "verify": True}, "L7OK", ""),
    "expired": ("https", EXPIRED, {"sni": NAME}, "L7OK", ""),
    "expired-verified": ("https", EXPIRED, {"sni": NAME, "verify": True}, "L6RSP", "expired"),
    "other-name": ("https", OTHER, {"sni": NAME}, "L7OK", ""),
    "other-name-verified": ("https", OTHER, {"sni": NAME, "verify": True}, "L6RSP", "name"),
    # TCP that says something.
    "greets": ("tcp", PORTS["banner"], {"expect": "220 "}, "L7OK", ""),
    "answers": ("tcp", PORTS["banner"], {"send": "QUIT", "expect": "250 QUIT"}, "L7OK", ""),
    "answers-bytes": ("tcp", PORTS["banner"], {"send": "hex:0a0b", "expect": "hex:0a0b"}, "L7OK", ""),
    "says-nothing": ("tcp", PORTS["silence"], {"expect": "220 "}, "L7TOUT", ""),
    "says-otherwise": ("tcp", PORTS["close"], {"send": "x", "expect": "220 "}, "L7RSP", ""),
    # UDP; the server answers with its name and what it got.
    "datagrams": ("udp", 53, {"send": "1 2", "expect": "s1 1 2"}, "L7OK", ""),
    "datagrams-unlike": ("udp", 53, {"send": "1 2", "expect": "s9"}, ("L7RSP", "L7TOUT"), ""),
    "datagrams-refused": ("udp", CLOSED, {"send": "1 2", "expect": "s1"}, "L4CON", "refused|unreachable"),
}
# By the way, its keys.
WAYS = {"tunnel": {}, "tunnel6": {"address": VIP[6]}, "direct": {"via": "direct"}}


def checks(authority):
    for name, (kind, port, keys, *_) in CASES.items():
        for way, more in WAYS.items():
            keys = {
                **keys,
                **({"port": port} if port else {}),
                **({"ca_file": str(authority.file)} if keys.get("verify") else {}),
            }
            yield check(f"{name}-{way}", kind, interval=1000, timeout=TIMEOUT, spread=500, **keys, **more)


@pytest.fixture(scope="module")
def rig(root):
    with tempfile.TemporaryDirectory(prefix="guideway-") as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        authority = Authority(directory)
        more = HTTP.format(bad=BAD, body=BODY, vip=VIP[4])
        for port, ends in ENDS.items():
            certificate, key = authority.sign("www.example.net" if port == OTHER else NAME, ends)
            more += HTTPS.format(port=port, certificate=certificate, key=key)
        made = list(checks(authority))
        pools = [pool(backends={"s1": "192.0.2.11"}, checks=[one["name"] for one in made], panic_threshold=100)]
        services = [service("web", 80), service("names", 53, protocol="udp")]
        rig = stack.enter_context(Rig(directory, made, pools, services, count=1, more=more))
        line = (PYTHON, PROGRAM, *(f"{port}:{way}" for way, port in PORTS.items()))
        hostile = rig.servers["s1"].start(*line, stdout=subprocess.PIPE)
        assert hostile.stdout.readline() == "ready\n"
        echo = (PYTHON, binaries.ROOT / "ci" / "lab" / "echo.py", "s1", "53", *VIP.values(), "192.0.2.11")
        echoing = rig.servers["s1"].start(*echo, stdout=subprocess.PIPE)
        assert echoing.stdout.readline().startswith("ready")
        rig.checker.wait_for_results()
        # Since everything listens.
        rig.checker.wait_for_fresh_results()
        yield rig


def test_every_failure_has_its_code_within_its_timeout(rig):
    rows = {row["check"]: row for row in rig.checker.rows()}
    wrong = []
    for name, (_, _, _, codes, words) in CASES.items():
        for way in WAYS:
            result = rows[f"{name}-{way}"]["result"]
            if result["code"] not in (codes if isinstance(codes, tuple) else (codes,)):
                wrong.append(f"{name}-{way}: {result} in place of {codes}")
            elif words and not re.search(words, result.get("detail", ""), re.IGNORECASE):
                wrong.append(f"{name}-{way}: no word of {words} in {result}")
            elif result["code"].endswith("OK") == bool(result.get("detail")) and result["code"] != "L7OKC":
                wrong.append(f"{name}-{way}: {result} has a detail, or has none")
            elif result["latency_us"] > (TIMEOUT + SLACK) * 1000:
                wrong.append(f"{name}-{way}: {result} is late")
            elif "TOUT" in result["code"] and result["latency_us"] < TIMEOUT * 1000 * 0.95:
                wrong.append(f"{name}-{way}: {result} is early")
    assert not wrong, "\n".join([*wrong, rig.node.log()[-2000:]])
    assert rows["unavailable-tunnel"]["result"]["status"] == 503


def test_states_follow_the_codes(rig):
    wanted = {}
    for name, (_, _, _, codes, _) in CASES.items():
        code = codes if isinstance(codes, str) else codes[0]
        state = "draining" if code == "L7OKC" else "up" if code.endswith("OK") else "down"
        wanted |= {(f"{name}-{way}", "s1"): state for way in WAYS}
    # What was probed before it listened has to rise.
    rig.checker.wait_for(wanted)
    # One check that fails is enough.
    wait_until(lambda: rig.checker.backends() == {"s1": "down"}, 2, rig.checker.report)


@pytest.mark.parametrize(
    "name, steps", (("secure", 3), ("unavailable", 2), ("datagrams", 1), ("ping", 1), ("expired-verified", 1))
)
def test_a_single_probe_tells_its_steps(rig, name, steps):
    before = rig.checker.row(f"{name}-tunnel")
    done = rig.node.controller.ctl("check", "run", f"{name}-tunnel/s1")
    assert done.returncode in (0, 1), done.stderr
    ran = json.loads(done.stdout)
    code = CASES[name][3]
    assert ran["result"]["code"] == code and (ran["check"], ran["backend"], ran["via"]) == (f"{name}-tunnel", "s1", "tunnel")
    times = [step["at_us"] for step in ran["steps"]]
    assert len(times) >= steps and times == sorted(times) and times[-1] <= ran["result"]["latency_us"] + 1000, ran
    assert done.returncode == (0 if code.endswith("OK") else 1)
    # It does not count.
    after = rig.checker.row(f"{name}-tunnel")
    assert (after["state"], after["since"]) == (before["state"], before["since"])
    text = rig.node.controller.ctl("check", "run", f"{name}-tunnel/s1", output="table").stdout
    assert (code in text and "connect" in text.lower()) or name in ("datagrams", "ping"), text


def test_unknown_names_are_named(rig):
    for words in (("show", "page-tunnel/s9"), ("show", "nothing/s1"), ("run", "nothing/s1")):
        done = rig.node.controller.ctl("check", *words)
        assert done.returncode == 4, (words, done.returncode, done.stdout)
        assert ("s9" in done.stderr) or ("nothing" in done.stderr), done.stderr


def test_the_ends_of_certificates_are_metrics(rig):
    page = samples(get(rig.node.host, "/metrics", CONTROLLER))
    found = {
        dict(labels)["check"]: value
        for (name, labels), value in page.items()
        if name == "guideway_check_certificate_ends_seconds"
    }
    for name, port in (("secure", VALID), ("expired", EXPIRED), ("hello-expired", EXPIRED), ("other-name", OTHER)):
        for way in WAYS:
            assert abs(found[f"{name}-{way}"] - ENDS[port].timestamp()) <= 1, (name, found)
    # Certificates that were refused are known too, or they would vanish from the page when they expire.
    assert "page-tunnel" not in found
    up = {dict(labels)["check"]: value for (name, labels), value in page.items() if name == "guideway_check_up"}
    assert up["page-tunnel"] == 1 and up["silent-tunnel"] == 0
