"""The Grafana dashboard."""

import json

from .binaries import ROOT

PATH = ROOT / "packaging" / "grafana" / "guideway.json"


def load():
    return json.loads(PATH.read_text())


def queries(**variables):
    """(row, panel, query) for each target, with values for the dashboard's variables."""
    row = None
    for panel in load()["panels"]:
        if panel["type"] == "row":
            row = panel["title"]
        for target in panel.get("targets", ()):
            query = target["expr"]
            for name, value in variables.items():
                query = query.replace(f"${name}", value)
            assert "$" not in query, query
            yield row, panel["title"], query
