"""The logs of a cluster in the background: BOTH SIDES, the writers and the readers.

Nothing passes through the primary: each process has its standard output and
error *in* its log file (``streams``), appends whole lines to it (``files``) and, when
it is full, begins a new one for all that write to it (``rotation``). What was written
when is noted beside it (``times``), so that the lines stay as the app wrote
them and can still be merged (``reading``).

    logs/0.log          the worker in slot 0, whichever process that is now
    logs/0.log.1 …      what was before it; the higher the older
    logs/pool.log       the pools: what the app prints while it is loaded
    logs/primary.log    the primary
    logs/.0.times       when what was written; also the lock of all that writes 0.log
"""
