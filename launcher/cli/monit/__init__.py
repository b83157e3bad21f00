"""The live screen of ``monit``.

``gather`` asks the clusters and reads their logs, in threads, because an
answer may not come. ``frame`` turns what is known (a ``View``) into a picture, and
knows neither; ``table`` is its upper part, ``panels`` are the lower ones. ``terminal``
is the terminal: raw keys, the alternate screen, and all as it was in the end.
``screen`` is the loop between the three; it owns all state and waits for nothing but
the next event.

Only ``monit`` imports this package: rich takes longer to load than most other
commands run.
"""
