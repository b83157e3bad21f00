"""``--environment`` and ``--reload-at`` as they are typed."""

from __future__ import annotations

from tests.cli.tools import Console, told
from tests.support import eventually

TOML = """
[defaults]
workers = 1
env = { WHERE = "anywhere", KEPT = "1" }

[apps.shop]
app = "web:app"
port = 0
env = { WHERE = "production" }

[apps.shop.environments.staging]
workers = 2
bind = "127.0.0.1:0"
env = { WHERE = "staging" }

[apps.shop.environments.empty]
"""


def where(console: Console) -> tuple[str, str, int]:
    answer = console.ask("shop", "WHERE", "KEPT")
    return answer["WHERE"], answer["KEPT"], len(console.online("shop"))


def test_an_environment_stands_over_the_app_and_is_kept(console: Console) -> None:
    console.write("cluster.toml", TOML)
    console.ok("start")
    assert where(console) == ("production", "1", 1)
    assert console.ok("start", "--environment", "staging").splitlines() == [
        "reloaded shop: environment, env changed",
        "scaled shop: 1 to 2 workers",
    ]
    assert eventually(lambda: where(console) == ("staging", "1", 2))
    described = console.ok("describe", "shop").splitlines()
    assert "  app         web:app, environment staging" in described
    assert any(line.split() == ["environment", "staging", "--environment"] for line in described)
    # Kept, unless another is named.
    assert console.ok("start") == "nothing to do: shop runs already, unchanged\n"
    console.ok("restart", "shop")
    assert where(console)[0] == "staging"
    console.ok("save")
    console.ok("stop", "shop")
    console.ok("resurrect")
    assert where(console) == ("staging", "1", 2)
    console.ok("stop", "shop")
    console.ok("start", "shop", LAUNCHER_ENVIRONMENT="empty")
    assert where(console) == ("production", "1", 1)


def test_an_environment_that_is_not_there(console: Console) -> None:
    path = console.write("cluster.toml", TOML)
    line = console.refused("start", "--environment", "prod")
    assert line == f"{path}: shop has no environment 'prod', only: staging, empty"
    line = console.refused("run", "web:app", "--environment", "staging", status=2)
    assert line == "--environment is for apps of a cluster.toml"
    console.write("cluster.toml", TOML.replace("[apps.shop.environments.staging]", "[apps.b.x]"))
    assert "apps.b.x: unknown key" in told(console("start"))
    console.write("cluster.toml", TOML + "wrokers = 3\n")
    line = told(console("start"))
    assert "apps.shop.environments.empty.wrokers: unknown key: did you mean 'workers'?" in line


def test_what_is_no_time_to_reload_at(console: Console) -> None:
    line = console.refused("start", "web:app", "--reload-at", "at four", status=2)
    assert line == (
        "--reload-at: 'at four' is no cron expression: write 0 4 * * * for 4:00 each day,"
        " several with ;"
    )


def test_it_is_reloaded_when_it_is_time(console: Console) -> None:
    every_second = "* * * * * *"  # six fields: the first is the second
    console.ok("start", "web:app", "-w", "1", "-p", "0", "--reload-at", every_second)
    eventually(lambda: console.list()["web"]["generation"] == 2, within=60)
    assert "reloading (--reload-at)" in console.ok("logs", "web", "-n", "100")
