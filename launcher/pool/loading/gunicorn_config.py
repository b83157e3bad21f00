"""gunicorn's own configuration: where it is read from, and what becomes of each setting.

Every setting of gunicorn's stands in one of the tables here; ``docs/gunicorn.md`` gives the
reasons. ``tests/pool/test_gunicorn_config.py`` holds both against gunicorn's own list, so
that a version with another setting does not come without a decision.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import runpy
import shlex
from collections.abc import Container, Mapping
from typing import Any

from gunicorn.config import Config

from launcher.config.settings import OPTIONS_BY_NAME
from launcher.pool.loading.load_error import LoadError

VARIABLE = "GUNICORN_CMD_ARGS"
"""gunicorn takes the value of this variable for a part of its command line."""

OF_VARIABLES = {"forwarded_allow_ips": "FORWARDED_ALLOW_IPS"}
"""Defaults that gunicorn takes from a variable, as it is imported; here when they are all known."""

DEFAULT_FILE = "gunicorn.conf.py"
"""The file that gunicorn reads by itself, and the launcher only when told to."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


HONOURED = _names(
    """
    raw_env worker_tmp_dir user group initgroups umask sendfile pythonpath
    secure_scheme_headers forwarded_allow_ips forwarder_headers header_map
    permit_obsolete_folding strip_header_spaces casefold_http_method
    permit_unconventional_http_method permit_unconventional_http_version
    proxy_protocol proxy_allow_ips
    accesslog access_log_format errorlog loglevel capture_output
    logconfig logconfig_dict logconfig_json
    syslog syslog_addr syslog_prefix syslog_facility disable_redirect_access_to_syslog
    on_starting on_reload when_ready nworkers_changed on_exit
    pre_fork post_fork post_worker_init worker_int worker_abort worker_exit child_exit
    pre_request post_request ssl_context
    keyfile certfile cert_reqs ca_certs ciphers
    """
)
"""Settings that do what they do in gunicorn."""

OPTION = {
    "config": "gunicorn_config",
    "wsgi_app": "app",
    "paste": "app",
    "bind": "bind",
    "backlog": "backlog",
    "workers": "workers",
    "threads": "threads",
    "max_requests": "max_requests",
    "max_requests_jitter": "max_requests",
    "timeout": "timeout",
    "graceful_timeout": "graceful_timeout",
    "keepalive": "keepalive",
    "limit_request_line": "limit_request_line",
    "limit_request_fields": "limit_request_fields",
    "limit_request_field_size": "limit_request_field_size",
    "reload": "watch",
    "reload_engine": "watch",
    "reload_extra_files": "watch",
    "preload_app": "preload",
    "chdir": "chdir",
    "proc_name": "name",
    "default_proc_name": "name",
}
"""Settings without effect, by name: the option of the launcher that decides instead."""

NOT_USED = _names(
    """
    worker_class worker_connections spew check_config print_config reuse_port daemon pidfile
    tmp_upload_dir root_path raw_paste_global_conf pre_exec
    logger_class enable_stdio_inheritance
    statsd_host statsd_prefix dogstatsd_tags enable_backlog_metric
    uwsgi_allow_ips ssl_version suppress_ragged_eofs do_handshake_on_connect
    http_protocols http2_cleartext http2_max_concurrent_streams http2_initial_window_size
    http2_max_frame_size http2_max_header_list_size http_parser
    asgi_loop asgi_lifespan asgi_disconnect_grace_period websocket_max_message_size
    dirty_workers dirty_timeout dirty_threads dirty_graceful_timeout
    on_dirty_starting dirty_post_fork dirty_worker_init dirty_worker_exit
    control_socket control_socket_mode control_socket_disable
    """
)
"""Settings without effect, for which the launcher has no option."""

REFUSED = {
    "protocol": "the launcher speaks HTTP only",
    "dirty_apps": "nothing runs them here, and the app would ask in vain",
}
"""Settings that are refused with another value than the default: the app would not work."""


def configure(
    cfg: Config, path: str | None, ours: Container[str], app_given: bool = True
) -> list[str]:
    """Read the file at ``path`` and `VARIABLE`, which wins; notices about what had no effect.

    The app's variables are set already, also those of ``--env-file``.

    ``ours``: what the launcher sets itself this time. ``app_given``: the launcher was told
    which app to load. The current folder is the app's. Raises LoadError.
    """
    given = _of_variable(cfg)
    named = given.pop("config", None)
    file = path or named
    sources: dict[str, Mapping[str, Any]] = {
        variable: {key: os.environ[variable]}
        for key, variable in OF_VARIABLES.items()
        if variable in os.environ
    }
    if file:
        sources[file] = _values_of(file)
    if path and named:
        given["config"] = named
    sources[VARIABLE] = given
    notices = []
    for source, values in sources.items():
        if not app_given and (app := values.get("wsgi_app")):
            raise LoadError(f"{source}: wsgi_app = {app!r}: the app is an argument, APP, here")
        notices += _take(cfg, source, values, ours)
    if not file and os.path.exists(DEFAULT_FILE):
        here = os.path.abspath(DEFAULT_FILE)
        notices.append(f"{here} is not read without --gunicorn-config {here}")
    return notices


def _take(cfg: Config, source: str, values: Mapping[str, Any], ours: Container[str]) -> list[str]:
    """Set what is honoured; a notice that names the settings without effect, if any."""
    unused = []
    for key, value in values.items():
        if key in ours or key in OPTION or key in NOT_USED:
            unused.append(_with_option(key))
        elif key in cfg.settings:
            _set(cfg, source, key, value)
    return [f"{source}: not used here: {', '.join(sorted(unused))}"] if unused else []


def _set(cfg: Config, source: str, key: str, value: Any) -> None:
    before: Any = cfg.settings[key].get()
    try:
        cfg.set(key, value)
    except Exception as error:
        raise LoadError(f"{source}: {key} = {value!r}: {error}") from None
    if key in REFUSED and cfg.settings[key].get() != before:
        raise LoadError(f"{source}: {key} = {value!r}: {REFUSED[key]}")


def _with_option(key: str) -> str:
    option = OPTION.get(key)
    return f"{key} (see {OPTIONS_BY_NAME[option].flag})" if option else key


def _values_of(path: str) -> dict[str, Any]:
    try:
        if path.startswith("python:"):
            return vars(importlib.import_module(path.removeprefix("python:")))
        return runpy.run_path(path.removeprefix("file:"))
    except BaseException as error:
        raise LoadError.over(f"cannot load {path}", error) from None


def _of_variable(cfg: Config) -> dict[str, Any]:
    """What `VARIABLE` sets."""
    text = os.environ.get(VARIABLE, "")
    if not text:
        return {}
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint), contextlib.redirect_stdout(complaint):
            values = vars(cfg.parser().parse_args(shlex.split(text)))
    except ValueError as error:  # a quote that is not closed
        raise LoadError(f"{VARIABLE}: {error}") from None
    except SystemExit:  # argparse raises it for errors, and for --help and --version
        last = complaint.getvalue().strip().rpartition("\n")[2].rpartition("error: ")[2]
        raise LoadError(f"{VARIABLE}: {text!r}: {last}") from None
    values["wsgi_app"] = next(iter(values.pop("args")), None)
    return {key: value for key, value in values.items() if value is not None}
