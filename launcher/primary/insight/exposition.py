"""Metrics as text: Prometheus' format 0.0.4, or OpenMetrics 1.0 for those that ask for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class Sample(NamedTuple):
    """One figure of a family. ``suffix`` follows the family's name."""

    value: float
    labels: Mapping[str, str] = {}
    suffix: str = ""


class Family(NamedTuple):
    """One metric. A counter's name has no ``_total``; its samples get it."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    samples: Sequence[Sample]


def histogram(
    name: str, help_: str, counts: Sequence[int], bounds: Sequence[float], total: float
) -> Family:
    """A histogram of counts per bucket, the last for what is over all ``bounds``; their sum."""
    reached, samples = 0, []
    for bound, count in zip((*bounds, float("inf")), counts, strict=True):
        reached += count
        samples.append(Sample(reached, {"le": _number(bound)}, "_bucket"))
    samples += [Sample(reached, suffix="_count"), Sample(total, suffix="_sum")]
    return Family(name, "histogram", help_, samples)


def content_type(accept: str) -> str:
    """The format to answer with (RFC 9110 section 12.5.1): the newer where it is asked for."""
    return OPENMETRICS if "application/openmetrics-text" in accept else PROMETHEUS


def render(families: Iterable[Family], form: str) -> str:
    """The text in one of the two formats."""
    newer = form == OPENMETRICS
    lines: list[str] = []
    for family in families:
        total = "_total" if family.kind == "counter" else ""
        head = family.name + ("" if newer else total)
        lines += [f"# HELP {head} {_escaped(family.help)}", f"# TYPE {head} {family.kind}"]
        lines += [
            f"{family.name}{total}{suffix}{_labels(labels)} {_number(value)}"
            for value, labels, suffix in family.samples
        ]
    if newer:
        lines.append("# EOF")
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    text = ",".join(f'{name}="{_escaped(value, quote=True)}"' for name, value in labels.items())
    return f"{{{text}}}" if text else ""


def _escaped(text: str, quote: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quote else text


def _number(value: float) -> str:
    return "+Inf" if value == float("inf") else repr(value)
