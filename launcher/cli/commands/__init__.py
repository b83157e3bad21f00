"""The commands, one module per group of them; each is imported when it is asked for."""

__all__ = ["ALIASES", "COMMANDS", "IMPLICIT_RUN", "MEANT", "OPTIONS_MEANT"]

COMMANDS = {
    "run": "launcher.cli.commands.run:run",
    "start": "launcher.cli.commands.start:start",
    "list": "launcher.cli.commands.listing:list_clusters",
    "describe": "launcher.cli.commands.describe:describe",
    "reload": "launcher.cli.commands.changes:reload",
    "restart": "launcher.cli.commands.changes:restart",
    "scale": "launcher.cli.commands.changes:scale",
    "signal": "launcher.cli.commands.changes:signal",
    "reset": "launcher.cli.commands.changes:reset",
    "stop": "launcher.cli.commands.ending:stop",
    "delete": "launcher.cli.commands.ending:delete",
    "save": "launcher.cli.commands.saved:save",
    "resurrect": "launcher.cli.commands.saved:resurrect",
    "logs": "launcher.cli.commands.logs:logs",
    "flush": "launcher.cli.commands.logs:flush",
    "reopen": "launcher.cli.commands.logs:reopen",
    "ping": "launcher.cli.commands.listing:ping",
    "events": "launcher.cli.commands.watching:events",
    "monit": "launcher.cli.commands.monit:monit",
    "export": "launcher.cli.commands.export:export",
    "sizing": "launcher.cli.commands.sizing:sizing",
    "completion": "launcher.cli.completion:completion",
}
"""By name, in the order of a first day with them: the module and what is called in it."""

ALIASES = {"ls": "list", "status": "list"}

MEANT = {
    "dash": "monit",
    "del": "delete NAME",
    "desc": "describe NAME",
    "ecosystem": "start, with a cluster.toml: start --help shows one",
    "env": "describe NAME",
    "help": "--help",
    "info": "describe NAME",
    "init": "start, with a cluster.toml: start --help shows one",
    "jlist": "list --json",
    "kill": "stop all",
    "l": "list",
    "log": "logs",
    "pid": "list, or list --json for scripts",
    "plus": "monit",
    "prettylist": "list --json",
    "ps": "list",
    "rm": "delete NAME",
    "sendSignal": "signal NAME SIGNAL",
    "show": "describe NAME",
    "startup": "export systemd NAME",
    "web": "monit",
}
"""What PM2 and others call what our commands do: what to type here."""

OPTIONS_MEANT = {
    "-i": "-w N, or -w auto",
    "--cron-restart": "--reload-at CRON",
    "--exp-backoff-restart-delay": "nothing to type: restarts always back off",
    "--ignore-watch": "--watch-ignore PATTERN",
    "--instances": "--workers N, or --workers auto",
    "--kill-timeout": "--graceful-timeout SECONDS",
    "--listen-timeout": "--boot-timeout SECONDS",
    "--max-memory-restart": "--max-memory BYTES",
    "--no-daemon": "run instead of start",
    "--wait-ready": "--health-path PATH",
}
"""The same for options."""

IMPLICIT_RUN = "launcher.implicit_run"
"""Key in ``Context.meta``: the command line began with an option, and ``run`` was meant."""
