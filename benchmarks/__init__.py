"""Measures the launcher against its peers: ``python -m benchmarks``.

Read in this order: ``peers`` (what is compared), ``server`` (how one of them
is started, watched and ended), ``load`` and ``strict`` (who asks them),
``accounting`` (what they cost), ``scenarios`` (what is measured), ``campaign``
(in which order, how often), ``report`` and ``chart`` (what is shown).
"""
