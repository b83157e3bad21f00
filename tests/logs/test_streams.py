"""What a process writes, in whichever way, is in its file; each test is a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from tests.logs.conftest import Folder
from tests.support import ROOT

BEGIN = """
import os, sys, threading
from launcher.logs.streams import FileOutput
from launcher.logs.files import Limits
output = FileOutput(os.open(sys.argv[1], os.O_RDONLY), "0", Limits(10_000_000, 2))
"""


def run(folder: Folder, code: str) -> subprocess.CompletedProcess[bytes]:
    """Run ``code`` with its output in the folder; nothing may appear anywhere else."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BEGIN + textwrap.dedent(code), str(folder.path)],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (done.stdout, done.stderr) == (b"", b"")
    return done


def log_of(folder: Folder, code: str) -> str:
    """What ``code`` has logged."""
    run(folder, code)
    return folder.read()


def test_all_ways_arrive_in_their_order(folder: Folder) -> None:
    code = """
    import ctypes, logging, subprocess, warnings
    print("print"); print("print to stderr", file=sys.stderr)
    sys.stdout.writelines(["two\\n", "lines\\n"])
    sys.stdout.buffer.write(b"bytes\\n"); sys.__stdout__.write("__stdout__\\n")
    logging.basicConfig(level="INFO", format="%(message)s"); logging.info("logging")
    os.write(1, b"descriptor\\n")
    libc = ctypes.CDLL(None); libc.puts(b"C"); libc.fflush(None)
    subprocess.run(["echo", "child"]); subprocess.run(["echo", "given"], stdout=sys.stdout)
    """
    assert log_of(folder, code).split("\n") == [
        *["print", "print to stderr", "two", "lines", "bytes", "__stdout__", "logging"],
        *["descriptor", "C", "child", "given", ""],
    ]


def test_what_is_no_text_is_shown(folder: Folder) -> None:
    assert log_of(folder, r'print("\udc80 grün")') == "\\udc80 grün\n"


def test_a_line_that_is_never_ended_arrives_at_the_end(folder: Folder) -> None:
    assert log_of(folder, 'print("no end", end="")') == "no end"


def test_and_that_of_another_thread(folder: Folder) -> None:
    code = """
    threading.Thread(target=print, args=("no end",), kwargs={"end": ""}).start()
    """
    assert log_of(folder, code) == "no end"


def test_flushed_it_arrives_before_a_sudden_end(folder: Folder) -> None:
    code = """
    print("no end", end="", flush=True); print("in vain", end=""); os._exit(3)
    """
    assert run(folder, code).returncode == 3
    assert folder.read() == "no end"


def test_looked_after_twice_it_arrives_too(folder: Folder) -> None:
    code = """
    print("no end", end="")
    output.look_after(); os.stat("0.log", dir_fd=3).st_size == 0 or os._exit(1)
    output.look_after(); os._exit(0)
    """
    assert run(folder, code).returncode == 0
    assert folder.read() == "no end"


def test_the_last_words_of_a_crash(folder: Folder) -> None:
    code = """
    import ctypes, faulthandler
    faulthandler.enable(); print("before"); ctypes.string_at(0)
    """
    assert run(folder, code).returncode < 0
    assert folder.read().startswith("before\nFatal Python error: Segmentation fault\n")


def test_an_uncaught_exception(folder: Folder) -> None:
    assert run(folder, "raise OSError('unexpected')").returncode == 1
    assert folder.read().endswith("\nOSError: unexpected\n")


def test_closed_or_detached_it_goes_on(folder: Folder) -> None:
    code = """
    sys.stdout.close(); print("still here")
    sys.stderr.reconfigure(errors="replace"); print("and here", file=sys.stderr)
    """
    assert log_of(folder, code) == "still here\nand here\n"


def test_it_looks_like_a_file_that_is_no_terminal(folder: Folder) -> None:
    code = """
    print(sys.stdout.fileno(), sys.stderr.fileno(), sys.stdout.isatty(), sys.stdout.encoding)
    print(sys.stdout.name, sys.stdout.writable(), sys.stdout.readable(), sys.stdout.closed)
    """
    assert log_of(folder, code) == "1 2 False utf-8\n<stdout> True False False\n"


def test_threads_that_print_in_pieces_do_not_mix(folder: Folder) -> None:
    code = """
    sys.setswitchinterval(1e-6)
    def write(name):
        for number in range(300):
            print(name, number, "x" * 50, sep="-", flush=number % 3 == 0)
            print(name, end="-", flush=number % 2 == 0); print(number, "y" * 50, sep="-")
    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    """
    lines = log_of(folder, code).splitlines()
    for name in "abcd":
        mine = [line for line in lines if line.startswith(f"{name}-") and line.endswith("x" * 50)]
        assert mine == [f"{name}-{number}-{'x' * 50}" for number in range(300)]
    # A line that is flushed in its middle is there in any case, if in two.
    assert sum(line.endswith("y" * 50) for line in lines) == 4 * 300
    assert "" not in lines


def test_a_forked_child_logs_too_and_repeats_nothing(folder: Folder) -> None:
    code = """
    print("parent's own", end=" ")
    held = threading.Event(); go = threading.Event()
    def hold():
        with output._log._mutex: held.set(); go.wait()
    threading.Thread(target=hold).start(); held.wait()
    pid = os.fork()
    if pid == 0:
        print("child"); os._exit(0)
    os.waitpid(pid, 0); go.set()
    print("line")
    """
    assert log_of(folder, code) == "child\nparent's own line\n"


def test_a_signal_handler_may_print(folder: Folder) -> None:
    """In the middle of a line if it comes there, as without us; but nothing hangs or is lost."""
    code = """
    import signal
    signal.signal(signal.SIGALRM, lambda *_: print("handler"))
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    for number in range(3000): print("main", number)
    signal.setitimer(signal.ITIMER_REAL, 0)
    """
    text = log_of(folder, code)
    assert (text.count("main"), "handler" in text) == (3000, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_goes_on_rotating(folder: Folder) -> None:
    code = """
    output._log._full = 1000
    output.give_to(65534, 65534); os.setgid(65534); os.setuid(65534)
    for _ in range(30): print("x" * 99)
    """
    run(folder, code)
    assert folder.names() == ["0.log", "0.log.1", "0.log.2"]


# In the foreground

FOREGROUND = """
import os, signal, sys, threading
from launcher.logs.streams import Output
output = Output()
"""


def foreground(code: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run ``code``; its streams are pipes that are read, unless ``options`` say otherwise."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", FOREGROUND + textwrap.dedent(code)],
        env={"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"},
        timeout=30,
        check=False,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )


def test_in_the_foreground_all_arrives_where_it_did_before() -> None:
    code = r"""
    print("a", "line"); print("grün"); print("to stderr", file=sys.stderr)
    print("part", end="", flush=True); print(" and rest"); sys.stdout.buffer.write(b"bytes\n")
    output.become("0"); output.look_after(); output.give_to(0, 0)
    assert output.tick is None
    print("no end", end=""); assert output.tick == 1000
    output.look_after(); assert output.tick == 1000
    output.look_after(); assert output.tick is None
    pid = os.fork()
    if pid: os.waitpid(pid, 0)
    """
    done = foreground(code)
    lines = ["a line", "gr\\xfcn", "part and rest", "bytes", "no end"]
    assert (done.returncode, done.stderr) == (0, b"to stderr\n")
    assert done.stdout.decode().split("\n") == lines


PRINT_A_LOT = """
import logging
logging.basicConfig()
for number in range(3000):
    print("line", number, flush=True); print("line", number, file=sys.stderr); logging.error("x")
sys.exit(7)
"""


def test_who_prints_does_not_hear_that_nobody_reads() -> None:
    read, write = os.pipe()
    os.close(read)
    assert foreground(PRINT_A_LOT, stdout=write, stderr=write).returncode == 7
    os.close(write)


def test_who_prints_does_not_hear_that_the_disk_is_full() -> None:
    with open("/dev/full", "wb") as full:
        assert foreground(PRINT_A_LOT, stdout=full, stderr=full).returncode == 7


@pytest.mark.slow
def test_a_pipe_that_somebody_made_not_wait_is_waited_for_a_moment() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    try:
        code = 'print("x" * 100_000, flush=True); sys.exit(7)'
        assert foreground(code, stdout=write).returncode == 7
        assert len(os.read(read, 1 << 20)) == 65_536
    finally:
        os.close(read)
        os.close(write)


def test_a_terminal_is_still_one() -> None:
    master, slave = os.openpty()
    assert foreground("sys.exit(7 * sys.stdout.isatty())", stdout=slave).returncode == 7
    os.close(master)
    os.close(slave)
