"""The reference app and a row by key from a database, through SQLAlchemy and psycopg."""

from __future__ import annotations

import os

from flask import Flask, Response
from sqlalchemy import Column, Engine, Integer, MetaData, Table, Text, create_engine, func, select

from app import create_app as create_reference_app

CONNECTIONS = 64
"""For each worker, as many as any server here has threads: nobody waits for one."""

ITEM = Table("item", MetaData(), Column("id", Integer, primary_key=True), Column("name", Text))


def create_app() -> Flask:
    """Connects to the database that ``BENCHMARK_DATABASE`` names, with the first request."""
    engine = create_engine(os.environ["BENCHMARK_DATABASE"], pool_size=CONNECTIONS)
    app = create_reference_app()
    app.extensions["engine"] = engine

    def item(key: int, milliseconds: int) -> Response:
        return Response(name_of(engine, key, milliseconds), content_type="text/plain")

    app.add_url_rule("/items/<int:key>/after/<int:milliseconds>", view_func=item)
    return app


def name_of(engine: Engine, key: int, milliseconds: int) -> str:
    """In a transaction of its own. ``milliseconds``: how long the database takes for it."""
    sleep = [func.pg_sleep(seconds(milliseconds))] if milliseconds else []
    wanted = select(ITEM.c.name, *sleep).where(ITEM.c.id == key)
    with engine.connect() as connection:
        name: str = connection.execute(wanted).scalar_one()
    return name


def seconds(milliseconds: int) -> float:
    """What pg_sleep has to be told: it waits in whole milliseconds until the time is over.

    Told 0.001 it wakes after 1 ms, finds some nanoseconds left, and takes 2.2 ms in all.
    """
    return (milliseconds - 0.5) / 1000
