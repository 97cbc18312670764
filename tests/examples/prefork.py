"""The Flask example as gunicorn preloads it: used in the parent before any worker is forked. Answers name their pid."""

from __future__ import annotations

import os
import sys
from typing import Any

from tests.examples.servers import WEB

sys.path.insert(0, str(WEB))

from flask_app import app, jobs

jobs.submit("import_rows", {"rows": "the parent, 1.00", "pace": 0})


@app.after_request
def name_pid(response: Any) -> Any:
    response.headers["X-Pid"] = str(os.getpid())
    return response
