"""A Flask app: files, uploads with a limit, WebSockets."""

from __future__ import annotations

from flask import Flask, Response, request, send_file
from flask_sock import Sock  # type: ignore[import-untyped]
from simple_websocket import Server  # type: ignore[import-untyped]

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 1 << 20
sock = Sock(app)


@app.get("/file")
def file() -> Response:
    return send_file(request.args["path"], conditional=True, mimetype="application/octet-stream")


@app.post("/length")
def length() -> str:
    return str(len(request.get_data()))


@app.get("/plain")
def plain() -> str:
    return "plain"


@sock.route("/echo")  # type: ignore[untyped-decorator]
def echo(ws: Server) -> None:
    while True:
        message = ws.receive()
        if message == "leave":
            return
        ws.send(message)
