"""The app of the jobs of ``limited`` that any worker can run."""

from __future__ import annotations

import zerog
from tests.acceptance import limited

app = zerog.App()
app.register(
    limited.Plain,
    limited.Coroutine,
    limited.Soft,
    limited.Hooked,
    limited.SoftCoroutine,
    limited.Graceless,
    limited.GracelessCoroutine,
    limited.Stop,
    limited.StopCoroutine,
    limited.Finish,
    limited.FinishCoroutine,
)
