"""How many descriptors a process may have."""

import resource


def raise_limit() -> int:
    """Raise this process's soft limit to the hard one (getrlimit(2)); what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
