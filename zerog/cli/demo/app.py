"""The demo's job and app; run its workers with ``ZEROG_URL=sqlite:///demo.db zerog worker zerog.cli.demo.app:app``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from marshmallow import Schema, fields

import zerog
from zerog.cli.demo.texts import Totals, count, path_of, read_text


class WordCount(zerog.BaseJob):
    """Counts lines, words and letters of a list of files, and can be killed after any of them."""

    JOB_TYPE = "word_count"

    class Params(Schema):
        """What to count: percent-encoded names of files below a folder."""

        folder = fields.String(required=True)
        files = fields.List(fields.String(), required=True)

    class State(Schema):
        """The checkpoint: the next file, and the totals of all files before it."""

        position = fields.Integer(load_default=0)
        totals = fields.List(fields.Integer(), load_default=list)

    folder: str
    files: list[str]
    position: int
    totals: list[int]

    def run(self) -> Any:
        """Count on from the checkpoint."""
        totals = Totals(*self.totals)
        if self.position:
            self.record_event(f"resumed at file {self.position + 1} of {len(self.files)}")
        self.set_tick_value(1 / len(self.files))
        folder = Path(self.folder)
        for position in range(self.position, len(self.files)):
            path = path_of(folder, self.files[position])
            try:
                totals = totals.plus(count(read_text(path)))
            except OSError as error:
                self.record_warning(f"{path} was left out: {error.strerror}")
            # Both are written with the next tick, so that totals and position always agree.
            self.update_attrs(position=position + 1, totals=list(totals), flush=False)
            self.tick()
            if self.stopping:
                return zerog.NO_RESULT
        return totals._asdict()


app = zerog.App()
app.register(WordCount)
