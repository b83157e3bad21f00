"""The reference app: a plain Flask app that tells which worker answered.

It runs the same under ``flask run`` and gunicorn alone, where every id is 0.
"""

import os

from flask import Flask, Response, render_template

from launcher import current_worker

TEXT = "text/plain; charset=utf-8"

# The cluster deals connections, and a browser keeps its connection: it would always
# meet the same worker. With its connection closed, its next request is dealt anew.
DEALT_ANEW = {"Connection": "close", "Cache-Control": "no-store"}
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def create_app() -> Flask:
    app = Flask(__name__)
    app.add_url_rule("/", view_func=index)
    app.add_url_rule("/whoami", view_func=whoami)
    app.add_url_rule("/clustered", view_func=clustered)
    app.add_url_rule("/healthz", view_func=healthz)
    return app


def index() -> tuple[str, dict[str, str]]:
    page = render_template("index.html", worker=_identity())
    return page, {**DEALT_ANEW, "Content-Security-Policy": CSP}


def whoami() -> tuple[dict[str, int], dict[str, str]]:
    return _identity(), DEALT_ANEW


def clustered() -> Response:
    return Response(f"Running on worker with id #{current_worker.id}", content_type=TEXT)


def healthz() -> Response:
    return Response("ok", content_type=TEXT)


def _identity() -> dict[str, int]:
    return {
        "id": current_worker.id,
        "slot": current_worker.slot,
        "generation": current_worker.generation,
        "pid": os.getpid(),
    }
