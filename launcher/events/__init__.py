"""What happens in a cluster's life: a frozen type for each fact.

Log lines, last exits and what ``events`` shows are made from these, so that they cannot
contradict each other. Each fact has a ``text``, which is its log line; an ``event``, the
stable name of its kind; and `Event.values`: plain JSON values by stable keys. A quantity has its
unit in its key, unless it is a count.

Pure: nothing else of the launcher is known here, no clock and no file. When a fact became known,
and of which cluster, is added where it is kept (``state/event_log.py``).
"""
