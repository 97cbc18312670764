"""Servers that tests start end with the process that started them, however that ends."""

from __future__ import annotations

import pytest

from tests.processes import alive, program, until

STARTED = """
    import os, signal, time
    from tests.backends.{module} import servers
    server = {start}
    print(server.process.pid, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize(
    ("module", "start"),
    [
        ("redis", "servers.started('valkey')"),
        ("mongo", "servers.started()"),
        ("postgres", "servers.started('debian')"),
        ("beanstalkd", "servers.RunningServer()"),
        ("couchbase", "servers.started()"),
    ],
    ids=lambda value: value if value.isalnum() else "",
)
def test_a_server_ends_with_a_process_that_is_killed(module: str, start: str) -> None:
    """What a killed process can't end itself, the kernel ends, also where the server is another user's."""
    with program(STARTED.format(module=module, start=start)) as process:
        assert process.stdout is not None
        server = int(process.stdout.readline())
        assert alive(server)
        process.kill()
        process.wait()
    until(lambda: not alive(server), what=f"the server of {module} ends")
