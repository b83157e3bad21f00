"""The page of the reference app in a real browser: it shows the workers as they come and go."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support import ROOT, Cluster, StartCluster

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
expect.set_options(timeout=20_000)

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of which the browser has nothing to say, such as what its policy forbids."""
    complaints: list[str] = []
    page = browser.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text))
    yield page
    page.close()
    # Requests that fail are counted on the page itself.
    assert [text for text in complaints if not text.startswith("Failed to load resource")] == []


@pytest.fixture
def cluster(start_cluster: StartCluster) -> Cluster:
    return start_cluster("-w", "2", folder=ROOT).ready()


@pytest.fixture
def asking(page: Page, cluster: Cluster) -> Page:
    """The page, when both workers have answered it."""
    page.goto(cluster.url)
    expect(page.locator("#tiles li")).to_have_count(2)
    return page


def test_a_killed_worker_costs_no_request(asking: Page, cluster: Cluster) -> None:
    killed = int(asking.locator("#command").inner_text().removeprefix("kill -9 "))
    (other,) = {worker["pid"] for worker in cluster.workers()} - {killed}
    os.kill(killed, signal.SIGKILL)
    expect(asking.locator("#gone tr")).to_have_count(1)
    expect(asking.locator("#gone")).to_contain_text(f"{killed}")
    expect(asking.locator("#command")).to_have_text(f"kill -9 {other}")
    (new,) = (worker for worker in cluster.ready().workers() if worker["pid"] != other)
    tile = asking.locator("#tiles li", has_text=f"pid {new['pid']}")
    expect(tile.locator(".name")).to_have_text("#3")
    expect(tile.locator(".answers")).to_have_text(re.compile(r"^([5-9]|\d\d+) answers$"))
    expect(asking.locator("#tiles li")).to_have_count(2)
    expect(asking.locator("#failed")).to_have_text("0")


def test_tiles_light_up_as_their_workers_answer(asking: Page) -> None:
    lit = "[...document.querySelectorAll('.lamp')].filter((it) => it.getAnimations().length)"
    asking.wait_for_function(f"{lit}.length == 2")
    expect(asking.locator("#latest")).to_contain_text(re.compile("1212|2121"))


def test_requests_that_fail_are_counted(asking: Page, cluster: Cluster) -> None:
    expect(asking.locator("#failed")).to_have_text("0")
    cluster.stop()
    expect(asking.locator("#failed")).to_have_text(re.compile("[2-9]"))
    expect(asking.locator("#news")).to_contain_text("No answer at ")


def test_a_worker_that_is_silent_has_no_tile(asking: Page, cluster: Cluster) -> None:
    assert cluster.command("scale", "app", "1").returncode == 0
    expect(asking.locator("#tiles li")).to_have_count(1)
    expect(asking.locator("#gone tr")).to_have_count(1)
    expect(asking.locator("#news")).to_contain_text("has not answered since")


def test_a_pause_lasts_until_it_is_ended(asking: Page) -> None:
    asking.get_by_role("button", name="Pause").click()
    asking.wait_for_load_state("networkidle")  # no request for half a second
    answered = asking.locator("#answered").inner_text()
    asking.get_by_role("button", name="Go on").click()
    expect(asking.locator("#answered")).not_to_have_text(answered)


def test_it_fits_a_phone(asking: Page) -> None:
    asking.set_viewport_size({"width": 390, "height": 844})
    assert asking.evaluate("document.documentElement.scrollWidth") == 390
