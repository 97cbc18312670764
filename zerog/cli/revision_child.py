"""Import an app of another revision, with its jobs in memory, and write the description of its types to a file."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from zerog.app import App
from zerog.exceptions import ConfigurationError, ZerogError
from zerog.loading import load_app
from zerog.schemas.describe import described
from zerog.support.clock import SYSTEM, Clock


def main(app: str, root: str, out: str) -> None:
    """Describe the types of ``app``, whose files are all below ``root``."""
    for folder in (os.path.join(os.getcwd(), "src"), os.getcwd()):
        sys.path.insert(0, folder)
    _keep_in_memory()
    answer: dict[str, Any]
    try:
        classes = load_app(app).registry.client_classes()
        for job_class in classes:
            _check_place(job_class, Path(root).resolve())
        answer = {"types": [described(job_class) for job_class in classes]}
    except ZerogError as error:
        answer = {"error": str(error), "notes": getattr(error, "__notes__", [])}
    Path(out).write_text(json.dumps(answer), encoding="utf-8")


def _keep_in_memory() -> None:
    """Let every app of this process use memory, whatever URL it is given: nothing is connected to."""
    init = App.__init__

    def in_memory(self: App, *_url: Any, clock: Clock = SYSTEM, **_parts: Any) -> None:
        init(self, "memory://", clock=clock)

    App.__init__ = in_memory  # type: ignore[method-assign]


def _check_place(job_class: type, root: Path) -> None:
    """Refuse a class of an installed copy of the application. Raises ConfigurationError."""
    file = getattr(sys.modules.get(job_class.__module__), "__file__", None)
    if file is None or root not in Path(file).resolve().parents:
        raise ConfigurationError(
            f"{job_class.__module__}.{job_class.__qualname__} was imported from {file}, not from the files of the "
            "revision: run the command in the folder that the app's modules are found from"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
