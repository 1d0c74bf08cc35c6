"""Looks for numbers in a command's output; run as a script, with nothing but the standard library.

Why a process of its own: a slow regular expression cannot be interrupted, and inside of the worker it would hold up
everything else, the trial's timeout included.

Standard input is the command's output, standard output the log, argument 1 the descriptor of the patterns (a JSON
list), 2 that of the results: doubles in shared memory, first the number of the pattern that is being tried (-1: none),
then for every pattern its last match (NaN: none yet); argument 3 is the worker's process id.
"""

import contextlib
import ctypes
import json
import math
import mmap
import os
import re
import signal
import sys

PR_SET_PDEATHSIG = 1
MAX_LINE = 1 << 16
"""Bytes of a line that are matched at once: a longer line is taken in pieces."""


def main() -> None:
    """Copy the output to its end, looking at every line on the way."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(sys.argv[3]):
        return
    with os.fdopen(int(sys.argv[1]), "rb") as stream:
        patterns = [re.compile(pattern) for pattern in json.load(stream)]
    results = memoryview(mmap.mmap(int(sys.argv[2]), 0)).cast("d")
    partial = b""
    while data := os.read(0, MAX_LINE):
        keep(data)
        *lines, partial = (partial + data).split(b"\n")
        for line in lines:
            see(line, patterns, results)
        while len(partial) >= MAX_LINE:
            see(partial[:MAX_LINE], patterns, results)
            partial = partial[MAX_LINE:]
    see(partial, patterns, results)


def keep(data: bytes) -> None:
    """Write to the log, all of it unless the disk is full."""
    with contextlib.suppress(OSError):
        while data:
            data = data[os.write(1, data) :]


def see(line: bytes, patterns: "list[re.Pattern[str]]", results: "memoryview[float]") -> None:
    """Look for every pattern in a line, at most MAX_LINE bytes at once; the last match counts."""
    for start in range(0, len(line), MAX_LINE):
        text = line[start : start + MAX_LINE].decode(errors="replace")
        for number, pattern in enumerate(patterns):
            results[0] = number
            for match in pattern.finditer(text):
                value = number_of(match.group(1))
                if math.isfinite(value):
                    results[1 + number] = value
    results[0] = -1


def number_of(text: "str | None") -> float:
    """The number that a text is, or NaN."""
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


if __name__ == "__main__":
    main()
