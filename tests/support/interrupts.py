"""Raise an exception at every point where one may arrive from outside: a signal's handler, an asynchronous exception.

The interpreter looks for them when a function starts, when a generator resumes, after each call and at the end of each
turn of a loop; not between other instructions.
"""

from __future__ import annotations

import contextlib
import dis
import sys
from collections.abc import Callable
from functools import lru_cache
from itertools import count
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import zerog

TRACED = (str(Path(zerog.__file__).parent), contextlib.__file__)
CHECKED_AFTER = ("CALL", "CALL_FUNCTION_EX", "CALL_KW", "JUMP_BACKWARD")


class Interrupted(BaseException):
    """The exception of an interruption."""


def interrupt_everywhere(
    action: Callable[[], Any],
    check: Callable[[], Any],
    start: int = 0,
    step: int = 1,
    traced: tuple[str, ...] = TRACED,
) -> int:
    """Run ``action`` again and again, interrupted at one point more each time, then ``check`` while it is handled.

    ``traced``: the folders whose code is interrupted. Returns how often it was.
    """
    for times, point in enumerate(count(start, step)):
        tracer = _Tracer(point, traced)
        sys.settrace(tracer)
        try:
            action()
        except Interrupted:
            sys.settrace(None)
            check()
        else:
            if not tracer.has_raised:
                return times
            check()
        finally:
            sys.settrace(None)
    raise AssertionError("unreachable")


class _Tracer:
    def __init__(self, point: int, traced: tuple[str, ...]) -> None:
        self.has_raised = False
        self._traced = traced
        self._left = point
        self._last: dict[int, int] = {}
        """The instruction that a frame has executed last, by the frame's identity."""

    def __call__(self, frame: FrameType, event: str, argument: object) -> Any:
        if not frame.f_code.co_filename.startswith(self._traced):
            return None
        frame.f_trace_opcodes = True
        last = self._last.pop(id(frame), None)
        if event == "call":
            self._raise_at_last()
        elif event == "opcode":
            if last is not None and last in checks_of(frame.f_code) and is_guarded_alike(frame, last):
                self._raise_at_last()
            self._last[id(frame)] = frame.f_lasti
        return self

    def _raise_at_last(self) -> None:
        self._left -= 1
        if self._left < 0:
            self.has_raised = True
            raise Interrupted


@lru_cache(None)
def checks_of(code: CodeType) -> frozenset[int]:
    return frozenset(each.offset for each in dis.get_instructions(code) if each.opname in CHECKED_AFTER)


def is_guarded_alike(frame: FrameType, last: int) -> bool:
    """True if an exception here takes the way of one that is raised by the last instruction."""
    return handler_of(frame.f_code, last) == handler_of(frame.f_code, frame.f_lasti)


@lru_cache(None)
def handler_of(code: CodeType, offset: int) -> int | None:
    entries = dis.Bytecode(code).exception_entries
    return next((entry.target for entry in entries if entry.start <= offset < entry.end), None)
