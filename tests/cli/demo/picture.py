"""Makes the picture of the live bars for the README from a real demo: ``python -m tests.cli.demo.picture [FILE]``."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from rich.console import Console

from zerog.cli.demo import show
from zerog.cli.follow import Bars

FILE = Path(__file__).parents[3] / "docs/pictures/bars.svg"
WIDTH = 100


class Screen(Console):
    """A terminal that remembers the lines it was given."""

    def __init__(self) -> None:
        super().__init__(file=io.StringIO(), width=WIDTH, force_terminal=True, color_system="truecolor")
        self.lines: list[str] = []
        self.picture: Console | None = None

    def print(self, *objects: Any, **options: Any) -> None:
        self.lines += [line for line in objects if isinstance(line, str)]
        super().print(*objects, **options)


class PicturedBars(Bars):
    """The bars; they keep their picture while a killed worker's jobs wait, until the remaining jobs are well on."""

    def __init__(self, console: Screen) -> None:
        super().__init__(console)
        self._screen = console
        self._is_good = False

    def update(self, progress: dict[str, Any], note: str = "") -> None:
        super().update(progress, note)
        tasks = self._progress.tasks
        if any("dead" in task.fields["note"] for task in tasks) and not self._is_good:
            self._is_good = sum(task.completed for task in tasks) > 0.45 * len(tasks)
            self._screen.picture = picture = Console(
                file=io.StringIO(), width=WIDTH, force_terminal=True, color_system="truecolor", record=True
            )
            for line in ("[bold]$ zerog demo[/]", *self._screen.lines):
                # The temporary file and the Python in use differ from run to run and are no news to a reader.
                picture.print(re.sub(r" to sqlite:[^,]+| in /\S+", "", line), highlight=False)
            picture.print(self._progress.get_renderable(), "")


def make(file: Path) -> None:
    """Run the demo and save its bars as SVG, once in a process. Raises RuntimeError if there was nothing to see."""
    screen = Screen()
    with mock.patch.object(show, "Bars", PicturedBars):
        went_well = show.Show(screen, None).play()
    if not went_well or screen.picture is None:
        raise RuntimeError("the demo failed, or no killed worker's jobs were seen to wait; run it again")
    svg = screen.picture.export_svg(title="zerog demo")
    # Without the fonts that rich would have a reader fetch from elsewhere.
    file.write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL))


if __name__ == "__main__":
    make(Path(sys.argv[1]) if sys.argv[1:] else FILE)
