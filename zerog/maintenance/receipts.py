"""The receipt of a bulk action: a file with a line of JSON for each job, by which a run that was cut off continues.

The first line names the action. Each further one begins with the job's ``uuid`` and the ``ended`` by which it was
found, written before anything is done to the job, and continues with ``done`` and ``became`` or ``why``. So a last line
that ends early names the one job of which it is unknown whether it was done.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import IO, Any, NamedTuple

from zerog.exceptions import ConfigurationError
from zerog.support import jsonvalues

FORM = 1
"""The form of the file."""


class Outcome(NamedTuple):
    """What became of one job."""

    uuid: str
    done: bool
    became: str | None
    """In a word or two; None if it was not done."""
    why: str | None
    """The reason for which it was not done."""

    def to_json(self) -> dict[str, Any]:
        """Return it as one object, without what is None."""
        return {name: value for name, value in self._asdict().items() if value is not None}


class Doubt(NamedTuple):
    """The job to which a run that was cut off was about to do it."""

    uuid: str
    ended: str | None


class Receipt:
    """An open receipt, made or continued."""

    def __init__(self, path: str | Path, action: dict[str, Any]) -> None:
        """``action``: what is done, as the first line has it. Raises ConfigurationError for a receipt of another one.

        Nothing is written to a file that is no receipt.
        """
        self.path = Path(path)
        self.settled: set[str] = set()
        """The jobs that have their line."""
        self.doubt: Doubt | None = None
        first = {"receipt": FORM, **action}
        try:
            self._file: IO[str] = self.path.open("a+", encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(
                f"the receipt {self.path} can't be opened: {error.strerror}; nothing was changed"
            ) from None
        try:
            self._continue(first)
        except BaseException:
            self._file.close()
            raise

    def _continue(self, first: dict[str, Any]) -> None:
        """Read what an earlier run wrote, and cut off a line that it didn't end."""
        self._file.seek(0)
        header = jsonvalues.encode(first)
        try:
            text = self._file.read()
            whole, _, torn = text.rpartition("\n")
            lines = [json.loads(line) for line in whole.splitlines()]
            is_receipt = lines[0]["receipt"] == FORM if lines else header.startswith(torn)
            self.settled.update(str(line["uuid"]) for line in lines[1:])
        except (ValueError, KeyError, TypeError):
            is_receipt = False
        if not is_receipt:
            raise ConfigurationError(f"{self.path} is no receipt; it was left as it is, and nothing was changed")
        if lines and lines[0] != first:
            raise ConfigurationError(
                f"{self.path} is the receipt of {json.dumps(lines[0])}, not of {header}; give another file. "
                "Nothing was changed."
            )
        self.doubt = _doubt_in(torn)
        if torn:
            os.truncate(self.path, len(text.encode()) - len(torn.encode()))
        if not lines:
            self._write(f"{header}\n")

    def begin(self, uuid: str, ended: str | None) -> None:
        """Begin the line of a job, before anything is done to it."""
        self._write(jsonvalues.encode({"uuid": uuid, "ended": ended})[:-1])

    def end(self, outcome: Outcome) -> None:
        """End the line of a job."""
        rest = outcome.to_json()
        del rest["uuid"]
        self._write(f",{jsonvalues.encode(rest)[1:]}\n")
        self.settled.add(outcome.uuid)

    def _write(self, text: str) -> None:
        try:
            self._file.write(text)
            self._file.flush()
        except OSError as error:
            raise ConfigurationError(
                f"the receipt {self.path} can't be written: {error.strerror}. Jobs after its last line are unchanged; "
                "the same command with it continues."
            ) from None

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _doubt_in(torn: str) -> Doubt | None:
    """Return the job of a line that wasn't ended; None if nothing was done before its beginning was written."""
    if not torn:
        return None
    for end in range(len(torn), 0, -1):
        try:
            begun = json.loads(f"{torn[:end]}}}")
        except ValueError:
            continue
        return Doubt(begun["uuid"], begun["ended"]) if "ended" in begun else None
    return None
