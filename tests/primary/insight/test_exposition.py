"""The text of metrics: read back by the parsers of Prometheus' own client."""

from __future__ import annotations

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from launcher.primary.insight.exposition import (
    OPENMETRICS,
    PROMETHEUS,
    Family,
    Sample,
    content_type,
    histogram,
    render,
)

ODD = 'a\\b"c\nd<script>\N{RIGHT-TO-LEFT MARK}'

FAMILIES = [
    Family("launcher_info", "gauge", "About\\it.", [Sample(1, {"name": ODD})]),
    Family("exits", "counter", "Ends.", [Sample(3, {"cause": "crash"}), Sample(0, {"cause": "x"})]),
    histogram("took_seconds", "Times.", [1, 0, 2], [0.005, 1.0], 12.5),
]


def read(text: str, newer: bool) -> dict[tuple[str, str], float]:
    families = [*(openmetrics if newer else prometheus)(text)]
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in families
        for sample in family.samples
    }


def test_both_formats_say_the_same() -> None:
    expected = {
        ("launcher_info", ODD): 1,
        ("exits_total", "crash"): 3,
        ("exits_total", "x"): 0,
        ("took_seconds_bucket", "0.005"): 1,
        ("took_seconds_bucket", "1.0"): 1,
        ("took_seconds_bucket", "+Inf"): 3,
        ("took_seconds_count", ""): 3,
        ("took_seconds_sum", ""): 12.5,
    }
    assert read(render(FAMILIES, PROMETHEUS), newer=False) == expected
    assert read(render(FAMILIES, OPENMETRICS), newer=True) == expected


def test_type_and_help_come_once_for_each_family() -> None:
    text = render(FAMILIES, PROMETHEUS)
    assert text.count("# TYPE ") == text.count("# HELP ") == 3
    assert "# TYPE exits_total counter\n" in text
    assert text.endswith("\n")
    assert not text.endswith("# EOF\n")


def test_the_newer_format_is_for_those_that_ask_for_it() -> None:
    asked = "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5"
    assert content_type(asked) == OPENMETRICS
    assert content_type("text/plain") == content_type("") == PROMETHEUS
