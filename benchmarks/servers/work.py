"""What an app computes; the benchmark itself runs it too, to learn how long that takes."""


def compute(turns: int) -> int:
    """Pure Python: the interpreter is given up only when it is asked for."""
    found = 0
    for n in range(turns):
        found = (found + n) & 0xFFFF
    return found
