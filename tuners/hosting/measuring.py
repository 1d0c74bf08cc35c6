"""What a run took of its process, which did others before."""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Iterator


@contextlib.contextmanager
def measured() -> Iterator[dict[str, float]]:
    """The metrics wall_time_s, cpu_time_s and max_rss_bytes of what the block does, there at its end."""
    found: dict[str, float] = {}
    _forget_peak()
    cpu, begun = _cpu_s(), time.perf_counter()
    try:
        yield found
    finally:
        found["wall_time_s"] = time.perf_counter() - begun
        found["cpu_time_s"] = _cpu_s() - cpu
        found["max_rss_bytes"] = _peak()


def _cpu_s() -> float:
    """User and system seconds of this process, and of its children that it waited for."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _forget_peak() -> None:
    """Let the peak of the memory begin anew."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as stream:
        stream.write("5")


def _peak() -> float:
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="ascii") as stream:
        for line in stream:
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) * 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * 1024
