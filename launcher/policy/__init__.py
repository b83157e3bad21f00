"""Decisions without effects: values and ``now`` go in, a decision comes out.

No module here imports os, socket, signal, time or gunicorn
(``tests/test_layering.py`` checks it), so every rule is tested by plain calls.
"""
