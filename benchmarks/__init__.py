"""Measures the launcher against its peers: ``python -m benchmarks``.

Read in this order: ``peers`` (what is compared), ``server`` (how one of them
is started, watched and ended), ``load`` and ``strict`` (who asks them),
``accounting`` (what they cost), ``bench`` (a server under load), ``scenarios``
and ``waiting`` with ``postgres`` (what is measured), ``campaign`` (in which order,
how often), ``report``, ``marks``, ``summary`` and ``chart`` (what is shown).
``comparison`` is for two working copies of the launcher.
"""
