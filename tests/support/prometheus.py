"""Prometheus, Debian's, in a namespace: it scrapes a forwarder there, evaluates rules and answers queries."""

import http.client
import json
import re
import socket
import subprocess
import time
import urllib.parse

import yaml

# The forwarder's HTTP server, by the namespace's own loopback.
EXPORTER = "127.0.0.1:9420"
INSTANCE = "lb1"
PORT = 9090

# In a query: a name's place is not in a selector, a string or a list of labels.
_NO_NAMES = re.compile(r'\{[^}]*\}|"[^"]*"|\[[^\]]*\]|\b(?:by|without|on|ignoring) *\([^)]*\)')
# A line of a page: name, labels, value.
_SAMPLE = re.compile(r"([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def metrics(query):
    """The names of metrics in a query: of a histogram its own name, without that of its part."""
    names = re.findall(r"(?<![\w:])(?:guideway_\w+|process_\w+|up)(?![\w:(])", _NO_NAMES.sub("", query))
    return {re.sub("_(?:bucket|sum|count)$", "", name) for name in names}


def get(namespace, path, address=EXPORTER):
    """The body of a page of a server in the namespace. The status must be 200."""
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    connection.sock = namespace.inside(lambda: socket.create_connection((host, int(port)), timeout=30))
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        assert response.status == 200, f"{path}: {response.status} {body[:500]}"
        return body.decode()
    finally:
        connection.close()


def samples(page):
    """The samples of a page in Prometheus's text format: values by (name, labels). No series may stand twice."""
    found = {}
    for line in page.splitlines():
        if line.startswith("#") or not line:
            continue
        name, labels, value = _SAMPLE.fullmatch(line).groups()
        series = (name, tuple(sorted(_LABEL.findall(labels or ""))))
        assert series not in found, f"twice: {line}"
        found[series] = float(value)
    return found


def is_counter(name):
    """Whether the series of this name only grow."""
    return name.endswith(("_total", "_bucket", "_count", "_sum"))


class Prometheus:
    """Scrapes the exporter in the namespace, and itself, from entry to exit. `rules` are files."""

    def __init__(self, namespace, directory, rules=(), interval="1s"):
        self.namespace = namespace
        self._base = directory / "prometheus"
        self._base.mkdir()
        jobs = {"guideway": (EXPORTER, INSTANCE), "prometheus": (f"127.0.0.1:{PORT}", "prometheus")}
        config = {
            "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
            "rule_files": list(map(str, rules)),
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [target], "labels": {"instance": instance}}]}
                for job, (target, instance) in jobs.items()
            ],
        }
        (self._base / "prometheus.yml").write_text(yaml.safe_dump(config))

    def __enter__(self):
        files = (f"--config.file={self._base / 'prometheus.yml'}", f"--storage.tsdb.path={self._base / 'data'}")
        line = ("prometheus", *files, f"--web.listen-address=127.0.0.1:{PORT}", "--log.level=warn")
        with (self._base / "log").open("w") as log:
            self._process = subprocess.Popen(self.namespace.command(*line), stdout=log, stderr=log)
        try:
            self._wait_for_start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _wait_for_start(self):
        end = time.monotonic() + 20
        while True:
            assert self._process.poll() is None and time.monotonic() < end, self.log()
            try:
                return get(self.namespace, "/-/ready", f"127.0.0.1:{PORT}")
            except (OSError, AssertionError):
                time.sleep(0.05)

    def __exit__(self, *_):
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise

    def log(self):
        """Its warnings and errors."""
        return (self._base / "log").read_text()

    def _ask(self, path, **parameters):
        body = get(self.namespace, f"/api/v1/{path}?{urllib.parse.urlencode(parameters)}", f"127.0.0.1:{PORT}")
        return json.loads(body)["data"]

    def query(self, expression):
        """What the expression is now: a list of series, each with its labels (`metric`) and its `value` or `values`."""
        return self._ask("query", query=expression)["result"]

    def over_time(self, expression, since):
        """Series with what the expression was since a time, second by second."""
        return self._ask("query_range", query=expression, start=since, end=time.time(), step=1)["result"]

    def values(self, expression):
        """The values of the expression now."""
        return [float(series["value"][1]) for series in self.query(expression)]

    def wait_for(self, expression, seconds=20):
        """Waits until the expression has a value, and returns the series."""
        end = time.monotonic() + seconds
        while not (found := self.query(expression)):
            assert time.monotonic() < end, f"nothing is {expression}; {self.log()}"
            time.sleep(0.1)
        return found

    def alerts(self):
        """The alerts that are pending or firing."""
        return self._ask("alerts")["alerts"]

    def wait_for_scrapes(self, count):
        """Waits until the exporter was scraped so many times more."""
        asked = 'sum(count_over_time(up{job="guideway"}[1h]))'
        goal = sum(self.values(asked)) + count
        self.wait_for(f"{asked} >= {goal}", 30 + 2 * count)

    def check_scrapes(self):
        """No scrape failed, and Prometheus refused no sample."""
        [up] = self.query('up{job="guideway"}[1h]')
        assert {value for _, value in up["values"]} == {"1"}, "a scrape failed"
        for trouble in ("duplicate_timestamp", "out_of_order", "out_of_bounds"):
            assert set(self.values(f"prometheus_target_scrapes_sample_{trouble}_total")) == {0.0}, self.log()
        assert not re.search('component="(?:scrape|rule) manager"', self.log()), self.log()

    def raw(self, selector):
        """Every sample since the start: the (time, value) in order, by (name, labels)."""
        found = {}
        for series in self.query(f"{selector}[1h]"):
            labels = {key: value for key, value in series["metric"].items() if key not in ("__name__", "job", "instance")}
            values = [(at, float(value)) for at, value in series["values"]]
            found[series["metric"]["__name__"], tuple(sorted(labels.items()))] = values
        return found
