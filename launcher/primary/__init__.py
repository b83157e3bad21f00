"""What runs in the primary: one thread, one loop, no blocking call, never the app.

Its rooms, each importing only those below it: ``control``, ``insight``, ``cluster``,
``rescue``, ``connections``, ``processes``.
"""
