"""A gunicorn configuration that keeps every request off the hot path: hooks need gunicorn's."""

from typing import Any


def pre_request(_worker: Any, _request: Any) -> None:
    """A hook of the user's."""
