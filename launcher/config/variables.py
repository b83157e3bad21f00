"""``LAUNCHER_…`` variables that are no settings: those of services, and misspelt ones.

Kubernetes sets some for every service of the namespace in every pod, and for one
called "launcher" they begin as ours do: ``LAUNCHER_PORT=tcp://10.0.0.1:80``,
``LAUNCHER_SERVICE_HOST``… (Kubernetes, "Service", environment variables). So did
Docker for containers that are linked, with ``LAUNCHER_NAME=/web/launcher``.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches

__all__ = ["PREFIX", "strays", "without_services"]

PREFIX = "LAUNCHER_"

OTHERS = frozenset({"LAUNCHER_HOME"})
"""Variables of ours that are no options."""

_ADDRESS = re.compile(r"(tcp|udp|sctp)://\S+:[0-9]+")

_OF_SERVICE = re.compile(
    r"([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?"
    r"|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR|START|END))?)"
)
"""What is so called is a service's, whatever its value."""

_LIKE = 0.75
"""How alike a misspelt name and a right one are, as `difflib` counts. LOG_LEVEL is no LOG_KEEP."""


def without_services(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables but for those that tell where services are."""
    linked = _ADDRESS.fullmatch(environ.get(f"{PREFIX}PORT", "")) is not None
    return {name: value for name, value in environ.items() if not _of_service(name, value, linked)}


def strays(environ: Mapping[str, str], known: Iterable[str]) -> Iterator[str]:
    """A line for each variable that looks like one of ours and is none; ``known`` are ours."""
    ours = {name.removeprefix(PREFIX): name for name in (*known, *OTHERS)}
    unknown = []
    for name, value in sorted(without_services(environ).items()):
        word = name.removeprefix(PREFIX)
        if word == name or word in ours or not value:
            continue
        if near := get_close_matches(word, ours, n=1, cutoff=_LIKE):
            yield f"{name} is not heeded: did you mean {ours[near[0]]}?"
        else:
            unknown.append(name)
    if unknown:
        yield f"no such option, not heeded: {', '.join(unknown)}"


def _of_service(name: str, value: str, linked: bool) -> bool:
    """Whether a variable tells of a service. ``linked``: there is one called "launcher"."""
    if not name.startswith(PREFIX):
        return False
    word = name.removeprefix(PREFIX)
    if _OF_SERVICE.fullmatch(word) or (name.endswith("_PORT") and _ADDRESS.fullmatch(value)):
        return True
    return linked and (word.startswith("ENV_") or (word == "NAME" and value.startswith("/")))
