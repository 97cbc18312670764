"""The code to be tried, in a process that is replaced whenever a document has ended it or made it hang."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from multiprocessing.connection import Connection, Pipe
from types import TracebackType
from typing import Any, NamedTuple, Self

from zerog.exceptions import ZerogError
from zerog.jobs.rehearsal import FAILS, Finding
from zerog.records.job import Document

Group = tuple[str, str]
"""A type and a version, as text."""

START = 120.0
"""Seconds within which the module of the app has to be imported."""

DEATHS = 3
"""Documents of one type and version that may end the process or make it hang; further ones aren't tried."""


class CandidateFailed(ZerogError):
    """The code to be tried can't be loaded; a note has its traceback."""


class Judgement(NamedTuple):
    """What came of one document."""

    findings: list[Finding]
    printed: int = 0
    """Bytes that its code wrote to standard output."""
    is_current: bool = False
    """True if it has the version of its class."""
    is_tried: bool = True


class Candidate:
    """Judges documents by the code of ``MODULE:APP``. Use as ``with``."""

    def __init__(self, target: str, timeout: float, now: float) -> None:
        self._target = target
        self._timeout = timeout
        self._now = now
        self._process: subprocess.Popen[bytes] | None = None
        self._messages: Connection | None = None
        self._deaths: Counter[Group] = Counter()
        self._blind: Counter[Group] = Counter()
        """Documents of which it is unknown what they lose."""

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stop()

    def judge(self, head: Document) -> Judgement:
        """Return what is wrong with a document. Raises CandidateFailed if the code can't be loaded again."""
        group = group_of(head)
        if self._deaths[group] >= DEATHS:
            return Judgement([], is_tried=False)
        answer, end = self._asked(head, self._blind[group] < DEATHS)
        if answer is None:
            self._deaths[group] += 1
            self._restart()
            return Judgement([Finding(FAILS, None, end)])
        findings = answer["findings"]
        if answer["goesOn"]:
            findings += self._losses(group)
        return Judgement([Finding(*each) for each in findings], answer["printed"], answer["isCurrent"])

    def _losses(self, group: Group) -> list[Any]:
        """Return the values that are lost. Made-up values may end the process: then those of this one are unknown."""
        more, _ = self._answer()
        if more is None:
            self._blind[group] += 1
            self._restart()
        return [] if more is None else list(more["findings"])

    def _asked(self, head: Document, with_losses: bool) -> tuple[dict[str, Any] | None, str]:
        """Send a document; return the answer, or None and what became of the process."""
        assert self._messages is not None
        try:
            self._messages.send_bytes(json.dumps([head, with_losses]).encode())
        except OSError:  # it has ended, and the answer is how
            pass
        return self._answer()

    def _answer(self) -> tuple[dict[str, Any] | None, str]:
        assert self._messages is not None and self._process is not None
        try:
            if not self._messages.poll(self._timeout):
                return None, f"its code hangs: no answer within {self._timeout:g} s"
            answer: dict[str, Any] = json.loads(self._messages.recv_bytes())
            return answer, ""
        except (EOFError, OSError):
            return None, f"its code ends the process ({_ended(self._process)})"

    def _restart(self) -> None:
        self._stop()
        self._start()

    def _start(self) -> None:
        own, other = Pipe()
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        if not {"ZEROG_URL", "ZEROG_DATASTORE"} & environment.keys():
            environment["ZEROG_URL"] = "memory://"
        command = [sys.executable, "-m", "zerog.cli.rehearsal.child", self._target, str(other.fileno()), str(self._now)]
        with tempfile.TemporaryFile("ab") as output, tempfile.TemporaryFile("ab") as errors, other:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                pass_fds=[other.fileno()],
                env=environment,
                start_new_session=True,
            )
        self._messages = own
        self._wait_for_start(own)

    def _wait_for_start(self, messages: Connection) -> None:
        assert self._process is not None
        try:
            answer = json.loads(messages.recv_bytes()) if messages.poll(START) else None
        except (EOFError, OSError):
            ended = _ended(self._process)
            raise CandidateFailed(f"{self._target} can't be loaded: its code ends the process ({ended})") from None
        if answer is None:
            raise CandidateFailed(f"{self._target} can't be loaded: its module was not imported within {START:g} s")
        if answer["error"] is not None:
            failed = CandidateFailed(answer["error"])
            for note in answer["notes"]:
                failed.add_note(note)
            raise failed

    def _stop(self) -> None:
        """End the process, and what it has started."""
        if self._messages is not None:
            self._messages.close()
            self._messages = None
        if self._process is not None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:  # it has ended, and so has what it started
                pass
            self._process.wait()
            self._process = None


def group_of(head: Document) -> Group:
    """Return a document's type and version as text."""
    return str(head.get("jobType")), str(head.get("schemaVersion"))


def _ended(process: subprocess.Popen[bytes]) -> str:
    try:
        code = process.wait(5)
    except subprocess.TimeoutExpired:
        return "it closed its connection"
    return f"exit code {code}" if code >= 0 else f"signal {-code}"
