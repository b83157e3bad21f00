"""The launcher's metrics, scraped from a cluster whose workers die under load."""

from __future__ import annotations

import os
import re
import signal
import threading
import time

import requests
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.load import Load
from tests.support import Cluster, StartCluster, eventually, sized

KILLS = sized(12, 200)
RELOADS = sized(2, 10)
COUNT = "http_server_request_duration_seconds_count"

Figures = dict[tuple[str, str], float]
"""By name and label."""


def metrics_url(cluster: Cluster) -> str:
    found = re.search(r"status at (http://\S+):", cluster.log)
    assert found
    return f"{found[1]}/metrics"


def scrape(url: str, growing_only: bool = False) -> Figures:
    answer = requests.get(url, headers={"Accept": "application/openmetrics-text"}, timeout=5)
    assert answer.status_code == 200
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)  # type: ignore[no-untyped-call]
        if not growing_only or family.type in ("counter", "histogram")
        for sample in family.samples
    }


class Scraper:
    """Scrapes ten times a second, and notes which counters have fallen."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._scrape)
        self.scrapes = 0
        self.fallen: list[str] = []

    def __enter__(self) -> Scraper:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _scrape(self) -> None:
        last: Figures = {}
        while not self._over.wait(0.1):
            now = scrape(self._url, growing_only=True)
            self.scrapes += 1
            self.fallen += [
                f"{key}: {value} -> {now.get(key)}"
                for key, value in last.items()
                if now.get(key, -1) < value
            ]
            last = now


def test_no_counter_falls_while_workers_are_killed_and_reloaded(
    start_cluster: StartCluster,
) -> None:
    cluster = start_cluster("echo:app", "--workers", "3", "--status-bind", "127.0.0.1:0").ready()
    url, name = metrics_url(cluster), cluster.status()["name"]
    with Scraper(url) as scraper:
        with Load(cluster.address, keep_alive=6, one_shot=2) as load:
            for kill in range(KILLS):
                victim = eventually(lambda: proven(cluster))[0]
                os.kill(victim, signal.SIGKILL)
                eventually(lambda pid=victim: pid not in pids(cluster))  # type: ignore[misc]
                if kill % (KILLS // RELOADS) == 0:
                    cluster.ready()
                    assert cluster.command("reload", name).returncode == 0
            books = load.stop()
        cluster.ready()
        assert cluster.command("reset", name).returncode == 0
        time.sleep(0.3)  # two scrapes more
    assert books.failures == []
    assert scraper.scrapes > KILLS
    assert scraper.fallen == []
    found = scrape(url)
    assert books.answered == found[COUNT, ""]
    assert found["launcher_reloads_total", "done"] == RELOADS
    assert found["launcher_reloads_total", "failed"] == 0
    assert found["launcher_worker_exits_total", "crash"] == KILLS
    assert found["launcher_worker_exits_total", "reload"] == 3 * RELOADS
    starts = found["launcher_worker_starts_total", ""]
    assert starts == KILLS + 3 * RELOADS + 3
    assert found["launcher_workers", "online"] == found["launcher_workers_wanted", ""] == 3
    assert found["launcher_rescued_total", "moved"] > 0
    assert found["launcher_generation", ""] == RELOADS + 1


def proven(cluster: Cluster) -> list[int]:
    """Those that have answered requests: the death of others would slow down the next starts."""
    return [worker["pid"] for worker in cluster.workers() if worker["requests"]]


def pids(cluster: Cluster) -> list[int]:
    return [worker["pid"] for worker in cluster.workers()]


def test_what_clients_send_makes_no_series(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "--workers", "2", "--status-bind", "127.0.0.1:0").ready()
    url = metrics_url(cluster)
    before = scrape(url)
    with requests.Session() as client:
        for number in range(sized(200, 10_000)):
            client.request(f"MADE-UP-{number}", f"{cluster.url}/{number}?{number}", timeout=5)
    after = scrape(url)
    assert after.keys() == before.keys()
    assert after[COUNT, ""] - before[COUNT, ""] == sized(200, 10_000)
    assert after["launcher_threads", "0"] >= 1
    assert after["launcher_worker_memory_bytes", "1"] > 1 << 20


def test_a_duration_is_in_the_bucket_that_the_standard_says(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "--workers", "1", "--status-bind", "127.0.0.1:0").ready()
    requests.get(f"{cluster.url}/echo/x?sleep=0.3", timeout=5)
    found = eventually(lambda: _counted(metrics_url(cluster)))
    bucket = "http_server_request_duration_seconds_bucket"
    assert (found[bucket, "0.25"], found[bucket, "+Inf"]) == (0, 1)
    assert 0.3 <= found["http_server_request_duration_seconds_sum", ""] < 5


def _counted(url: str) -> Figures | None:
    found = scrape(url)
    return found if found[COUNT, ""] else None
