"""One rehearsal: each document is judged, with a bar on a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from importlib.util import find_spec

from zerog.cli.console import make_bar, make_console
from zerog.cli.rehearsal.candidate import Candidate, Group, group_of
from zerog.cli.rehearsal.report import Report
from zerog.exceptions import ConfigurationError
from zerog.records.job import Document
from zerog.support.clock import SYSTEM
from zerog.support.extras import how_to_install


def run(
    app: str,
    documents: Iterable[Document],
    total: int | None,
    sample: int | None,
    dropped: tuple[str, ...],
    timeout: float,
) -> Report:
    """Judge the documents, ``sample`` of each type and version, by the code of an app.

    Raises ConfigurationError if the extra isn't installed, CandidateFailed if the code can't be loaded.
    """
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    if find_spec("time_machine") is None:
        raise ConfigurationError(f"rehearse needs time_machine; install it with: {how_to_install('cli')}")
    console = make_console(stderr=True)
    columns = (TextColumn("{task.description}"), make_bar(), MofNCompleteColumn(), TimeRemainingColumn(compact=True))
    shown = Progress(*columns, console=console, disable=not console.is_terminal)
    report, seen = Report(dropped), Counter[Group]()
    with Candidate(app, timeout, SYSTEM.now().timestamp()) as candidate, shown:
        task = shown.add_task("rehearse", total=total)
        for head in documents:
            shown.advance(task)
            group = group_of(head)
            if sample is None or seen[group] < sample:
                seen[group] += 1
                report.add(head, candidate.judge(head))
    return report
