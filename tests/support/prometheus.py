"""Prometheus: the metrics that a query asks for."""

import re

# In a query: a name's place is not in a selector, a string or a list of labels.
_NO_NAMES = re.compile(r'\{[^}]*\}|"[^"]*"|\[[^\]]*\]|\b(?:by|without|on|ignoring) *\([^)]*\)')


def metrics(query):
    """The names of metrics in a query: of a histogram its own name, without that of its part."""
    names = re.findall(r"(?<![\w:])(?:guideway_\w+|process_\w+|up)(?![\w:(])", _NO_NAMES.sub("", query))
    return {re.sub("_(?:bucket|sum|count)$", "", name) for name in names}
