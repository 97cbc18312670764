"""The command, and how long it took and how much memory it had at most: ``python -m tests.cli.measured OUT …``.

``VmHWM`` rather than ``ru_maxrss``: the latter begins with what the parent had when it forked.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

from zerog.cli.root import cli

if __name__ == "__main__":
    out, *arguments = sys.argv[1:]
    start = time.monotonic()
    try:
        cli(arguments)
    finally:
        peak = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
        assert peak is not None
        measured = {"seconds": time.monotonic() - start, "mib": int(peak[1]) / 1024}
        Path(out).write_text(json.dumps(measured))
