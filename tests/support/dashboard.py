"""The Grafana dashboards: of the forwarder, and of the controller."""

import json

from .binaries import ROOT

_DIRECTORY = ROOT / "packaging" / "grafana"
FORWARDER = _DIRECTORY / "guideway.json"
CONTROLLER = _DIRECTORY / "guideway-controller.json"


def load(path=FORWARDER):
    return json.loads(path.read_text())


def queries(path=FORWARDER, **variables):
    """(row, panel, query) for each target, with values for the dashboard's variables."""
    row = None
    for panel in load(path)["panels"]:
        if panel["type"] == "row":
            row = panel["title"]
        for target in panel.get("targets", ()):
            query = target["expr"]
            for name, value in variables.items():
                query = query.replace(f"${name}", value)
            assert "$" not in query, query
            yield row, panel["title"], query
