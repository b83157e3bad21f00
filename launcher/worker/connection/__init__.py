"""The sockets of clients: read without being consumed, written without blocking, parked.

Send first, consume after: theory of operation
==============================================

A worker may be killed between any two of its instructions, and its requests are to be neither
lost nor run twice. So a request stays in the kernel while it runs: it is read with MSG_PEEK,
noted, answered, and only then consumed.

**Parties.** The *worker's thread* runs the request. The *primary* has a duplicate of the
connection, and reads the thread's note in shared memory once the worker is dead. The *kernel*
counts for each connection the bytes written and consumed, also those of a killed process's last
moment. The *client* may go on meanwhile: send more, acknowledge, or leave.

**Invariant.** At any moment the kernel's two counts and the note together say which of these
the request is: not begun, begun with nothing sent, cut off, or answered. The note has both counts
from before the request, its length, and, before the first byte is sent, the response's length.

What the primary finds when the worker dies behind each step (`launcher.policy.rescue`):

    step                       written since       consumed since   so the request
    peeks                      (no note)           (no note)        goes to another worker
    notes that it begins       0                   0                is run again if it is safe,
    runs the app               0                   0                else it gets a 502
    notes the length           0                   0
    sends, a part              less than length    0                is cut: the client can tell
    sends, the rest            the length          0                is consumed by the primary
    consumes, a part           the length          less than its    and its connection goes to
    consumes, the rest         the length          its length       another worker
    clears the note            (no note)           (no note)        is history

Rows that look alike are dealt with alike, and after the last step the request has left the
kernel, so a dead worker's connection is never misread. The note counts from the moment its state is
set, which is written last and cleared first, so a kill in the middle of writing leaves none
(`launcher.ipc.notes`).

* *More than one send*: a length that is not known is noted as such. Until the last piece tells
  it, any byte that is out means that the response is cut off.
* *A worker that is too slow* and not dead: the main thread gives the request up and sends the
  504. It notes that it has and then looks whether a response was announced; the thread announces
  and then looks whether it was given up. At most one of them answers
  (``worker/exchange/response.py``, `Running.abandon`).
* *A held response* (``worker/serving/outbox.py``) is not sent, and its request not consumed: to
  the primary it has not begun.
* *A request that leaves the kernel before it is answered* (a large body, TLS, another protocol)
  cannot be run by another worker. The thread says so first (`Pinned`) and consumes then.

**Rejected.** *Consume, then send* is what servers do. It leaves a window in which the request
exists only in the process that dies: a prototype lost 16 to 22 requests in 18 kills under load.
*A copy of each request in the primary* would have to be made for each request, for the sake of
the few whose worker dies. *A message to the primary for each step* likewise, and one message
always comes too late.

**Measured.** With this order none of 208,852 requests was lost in 6 runs of 18 kills each, at the
throughput of the prototype that lost some. Again: ``python -m benchmarks --scenario kills``; and
``tests/faults/test_kills.py`` kills workers under load whenever the tests run.
"""
