"""``sizing``: how many workers, and every limit that was looked at."""

import os

import click

from launcher.cli.options import tell_strays, version
from launcher.cli.text import show_size

__all__ = ["sizing"]


@click.command(epilog="Example: WEB_CONCURRENCY=3 python -m launcher sizing")
@version
def sizing() -> int:
    """Show how many workers a cluster started here gets, and why.

    LAUNCHER_WORKERS, else WEB_CONCURRENCY, else one per CPU this process may
    use: the least of CPU affinity, cpuset and cgroup quota.
    """
    from launcher.config.resolve import resolve_sizing
    from launcher.sizing import cpu_limits, memory_limit

    tell_strays(os.environ)
    click.echo(str(resolve_sizing(os.environ)))
    limits, memory = cpu_limits(), memory_limit()
    click.echo(f"affinity: {limits.affinity} of {limits.cores} CPUs")
    click.echo(f"cpuset: {'none' if limits.cpuset is None else f'{limits.cpuset} CPUs'}")
    click.echo(f"quota: {'none' if limits.quota is None else f'{limits.quota:.4g} CPUs'}")
    click.echo(f"memory limit: {'none' if memory is None else show_size(memory)}")
    return 0
