"""The alert rules, their tests and the dashboards: each alert fires in its own test and in no other, and what they ask for
is in the list of metrics, docs/metrics.md.

A real Prometheus asks a running forwarder in tests/live/test_metrics.py.
"""

import copy
import re
import subprocess

import pytest
import yaml
from support import dashboard, prometheus
from support.binaries import ROOT

PACKAGING = ROOT / "packaging" / "prometheus"
RULES = PACKAGING / "guideway.rules.yaml"
TESTS = PACKAGING / "guideway.rules.test.yaml"
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
METRICS = (ROOT / "docs" / "metrics.md").read_text()
FIRING = 'ALERTS{alertstate="firing"}'

GROUPS = yaml.safe_load(RULES.read_text())["groups"]
ALERTS = {rule["alert"]: rule for group in GROUPS for rule in group["rules"] if "alert" in rule}
RECORDED = {rule["record"]: rule["expr"] for group in GROUPS for rule in group["rules"] if "record" in rule}
SUITE = yaml.safe_load(TESTS.read_text())
HEALTHY, *CASES = SUITE["tests"]
BOARDS = (dashboard.FORWARDER, dashboard.CONTROLLER)


def promtool(*words):
    done = subprocess.run(["promtool", *map(str, words)], capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


def test_the_rules_and_the_example_are_clean():
    # The example names the rules' file, which promtool then checks too.
    for words in (("check", "rules", RULES), ("check", "config", PACKAGING / "scrape.example.yaml")):
        code, output = promtool(*words)
        assert code == 0 and "SUCCESS" in output, output


def test_each_alert_fires_in_its_test():
    code, output = promtool("test", "rules", TESTS)
    assert code == 0, output


def merged(case):
    """A test with all series of a healthy node, but for those that it has itself."""
    case = copy.deepcopy(case)
    own = {one["series"] for one in case["input_series"]}
    case["input_series"] += [one for one in HEALTHY["input_series"] if one["series"] not in own]
    return case


def test_no_other_alert_fires_on_a_node_that_is_healthy_otherwise(tmp_path):
    suite = SUITE | {"rule_files": [str(RULES)], "tests": [HEALTHY, *map(merged, CASES)]}
    path = tmp_path / "merged.yaml"
    path.write_text(yaml.safe_dump(suite))
    code, output = promtool("test", "rules", path)
    assert code == 0, output


def test_every_alert_has_a_test_in_which_only_it_fires():
    assert [case["name"] for case in CASES] == list(ALERTS)
    for case in CASES:
        before, after = case["promql_expr_test"]
        assert (before["expr"], before["exp_samples"], after["expr"]) == (FIRING, [], FIRING)
        [sample] = after["exp_samples"]
        labels = dict(re.findall(r'(\w+)="([^"]*)"', sample["labels"]))
        assert (labels["alertname"], labels["alertstate"]) == (case["name"], "firing")
    # Nothing fires or is about to on a healthy node, and its series are all that rules ask for.
    *_, last = HEALTHY["promql_expr_test"]
    assert (last["expr"], last["exp_samples"]) == ("ALERTS", [])
    healthy = {one["series"].split("{")[0] for one in HEALTHY["input_series"]}
    assert healthy == {"up"}.union(*(needed(rule["expr"]) for rule in ALERTS.values()))


def anchors(page):
    """The anchors of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_to_do(name):
    rule = ALERTS[name]
    assert re.fullmatch("Guideway[A-Z][A-Za-z]+", name)
    assert rule["labels"]["severity"] in ("critical", "warning")
    annotations = rule["annotations"]
    assert set(annotations) == {"summary", "description"}
    assert len(annotations["summary"].split()) <= 15 and len(annotations["description"].split()) >= 15
    *_, link = annotations["description"].split()
    page, _, anchor = link.partition("#")
    assert page == "docs/operations.md" and anchor in anchors(OPERATIONS), link
    # Instance and name are what Prometheus has of a node that is down.
    assert name == "GuidewayAbsent" or "$labels.instance" in annotations["summary"]


def test_the_table_of_alerts_is_complete():
    _, watching = OPERATIONS.split("\n## Watching\n")
    rows = re.findall(r"^\| `(Guideway\w+)` \| (\w+) \|", watching.split("\n## ")[0], re.MULTILINE)
    assert rows == [(name, rule["labels"]["severity"]) for name, rule in ALERTS.items()]


def needed(expression):
    """The metrics that an expression asks for, also by way of recording rules."""
    for name in re.findall(r"guideway:\w+(?::\w+)+", expression):
        expression += " " + " ".join(needed(RECORDED[name]))
    return prometheus.metrics(expression)


def test_every_recording_rule_has_a_use():
    asked = " ".join([*RECORDED.values(), *(rule["expr"] for rule in ALERTS.values())])
    for name in RECORDED:
        assert re.search(rf"{name}\b", asked), name


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_a_dashboard_is_well_formed(path):
    board = dashboard.load(path)
    assert board["schemaVersion"] == 38 and board["uid"] == path.stem
    assert [variable["name"] for variable in board["templating"]["list"]] == ["datasource", "instance"]
    panels = board["panels"]
    assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken and place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
        assert panel["title"]
        if panel["type"] == "row":
            continue
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        targets = panel["targets"]
        assert len({target["refId"] for target in targets}) == len(targets) >= 1, panel["title"]
        assert len({target["legendFormat"] for target in targets}) == len(targets), panel["title"]
        for target in targets:
            # Each query is for the chosen nodes, but for the alerts of all.
            assert 'instance=~"$instance"' in target["expr"] or "ALERTS{" in target["expr"], target


def test_prometheus_understands_every_query(tmp_path):
    asked = asked_by_dashboards(".+")
    rules = [{"record": f"query:a{number}", "expr": query} for number, (*_, query) in enumerate(asked)]
    path = tmp_path / "queries.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    code, output = promtool("check", "rules", path)
    assert code == 0 and f"{len(rules)} rules found" in output, output


def asked_by_dashboards(instance):
    """(row, panel, query) for each target of each dashboard."""
    return [one for path in BOARDS for one in dashboard.queries(path, instance=instance, __rate_interval="1m")]


def watched():
    """The last column of docs/metrics.md, by metric."""
    rows = re.findall(r"^\| `(\w+)` \|(?:[^|]*\|){3} (.*?) ?\|$", METRICS, re.MULTILINE)
    assert len(rows) > 50
    return dict(rows)


def test_the_list_of_metrics_names_the_alerts_that_need_each():
    """And no rule asks for a metric that is not listed."""
    needing = {}
    for name, rule in ALERTS.items():
        for metric in needed(rule["expr"]) - {"up"}:
            needing.setdefault(metric, set()).add(name)
    listed = {metric: set(re.findall(r"`(\w+)`", watchers)) for metric, watchers in watched().items()}
    assert {metric: alerts for metric, alerts in listed.items() if alerts} == needing


def test_the_dashboards_show_the_metrics_that_are_listed_as_shown():
    """And no panel asks for a metric that is not listed."""
    shown = set().union(*(prometheus.metrics(query) for *_, query in asked_by_dashboards("x")))
    listed = watched()
    assert shown <= set(listed), shown - set(listed)
    missing = {metric for metric, watchers in listed.items() if watchers == "dashboard"} - shown
    assert not missing, missing
