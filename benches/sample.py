"""The median and the spread of repeated measurements."""

import statistics


def median(values):
    return statistics.median(values)


def spread(values):
    """Half the interquartile range over the median."""
    if len(values) < 2:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / 2 / median(values)
