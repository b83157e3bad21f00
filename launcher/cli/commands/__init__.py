"""The commands, one module per group of them; each is imported when it is asked for."""

__all__ = ["ALIASES", "COMMANDS", "IMPLICIT_RUN", "MEANT"]

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
    "monit": "launcher.cli.commands.monit:monit",
    "export": "launcher.cli.commands.export:export",
    "sizing": "launcher.cli.commands.sizing:sizing",
    "completion": "launcher.cli.completion:completion",
}
"""By name, in the order of a first day with them: the module and what is called in it."""

ALIASES = {"ls": "list", "status": "list"}

MEANT = {
    "del": "delete",
    "desc": "describe",
    "help": "--help",
    "info": "describe",
    "jlist": "list --json",
    "kill": "stop",
    "l": "list",
    "log": "logs",
    "ps": "list",
    "rm": "delete",
    "show": "describe",
}
"""What PM2 and others call our commands."""

IMPLICIT_RUN = "launcher.implicit_run"
"""Key in ``Context.meta``: the command line began with an option, and ``run`` was meant."""
