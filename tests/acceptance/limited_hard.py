"""The app of the jobs of ``limited`` with a hard limit."""

from __future__ import annotations

import zerog
from tests.acceptance import limited

app = zerog.App()
app.register(limited.Hard, limited.HardCoroutine, limited.Both)
