"""Why a `for` loop was left early, as seen from an iterator that is dropped: by `break`, or by an exception.

An iterator is not told. But an exception that leaves the loop's frame has put a traceback there, at the instruction
that the frame stands at, and Python drops the iterator right then.
"""

from __future__ import annotations

import dis
import gc
import signal
import sys
import threading
import traceback
from dataclasses import dataclass
from types import FrameType, TracebackType

LEAVING = (KeyboardInterrupt, SystemExit, GeneratorExit)
"""Not errors: somebody wants to go."""


@dataclass(frozen=True)
class Raised:
    """What an exception that is leaving a frame is known by."""

    error: BaseException | None
    """The exception; None where Python before 3.12 did not make it yet."""
    trace: TracebackType
    """Where it came from, from the frame on."""

    @property
    def leaving(self) -> bool:
        """Whether it is no error: Ctrl-C, the end of the program, or of a generator that the loop is in."""
        if self.error is not None:
            return isinstance(self.error, LEAVING)
        last = _last(self.trace)
        return last.tb_frame.f_code is _interrupt.__code__ or _opcode(last) in ("YIELD_VALUE", "RESUME")

    @property
    def text(self) -> str:
        """The traceback, for people."""
        return explained(self.error, self.trace)


def raised_in(frame: FrameType | None) -> Raised | None:
    """The exception that is leaving the frame right now."""
    if frame is None:
        return None
    for trace in gc.get_referrers(frame):
        if isinstance(trace, TracebackType) and trace.tb_frame is frame and trace.tb_lasti == frame.f_lasti:
            errors = (error for error in gc.get_referrers(trace) if isinstance(error, BaseException))
            return Raised(next(errors, None), trace)
    return None


def explained(error: BaseException | None, trace: TracebackType | None) -> str:
    """The end of a traceback."""
    if error is None:
        return "".join(traceback.format_tb(trace, limit=-20))
    return "".join(traceback.format_exception(type(error), error, trace, limit=-20))


def interrupts_show(whether: bool) -> None:
    """Before Python 3.12: let Ctrl-C raise its KeyboardInterrupt from a function, which a traceback shows."""
    if sys.version_info >= (3, 12) or threading.current_thread() is not threading.main_thread():
        return
    before, after = (signal.default_int_handler, _interrupt) if whether else (_interrupt, signal.default_int_handler)
    if signal.getsignal(signal.SIGINT) is before:
        signal.signal(signal.SIGINT, after)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _last(trace: TracebackType) -> TracebackType:
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace


def _opcode(trace: TracebackType) -> str:
    return dis.opname[trace.tb_frame.f_code.co_code[trace.tb_lasti]]
