"""Web hooks of jobs that are submitted on the command line."""

from __future__ import annotations

import pytest

from tests.cli.builders import Shop
from tests.cli.conftest import Zerog
from tests.webhooks.receiver import Receiver
from zerog.testing import drain
from zerog.webhooks import new_secret, verify

SUBMIT = ("submit", "myapp:app", "word_count", "path=war-and-peace.txt")


def test_each_url_is_notified_of_the_end(shop: Shop, zerog: Zerog) -> None:
    secret, networks = new_secret(), ["127.0.0.0/8"]
    with Receiver() as receiver:
        hosts = {f"http://127.0.0.1:{receiver.port}": secret}
        with (shop.folder / "myapp.py").open("a") as source:
            source.write(f"\napp.webhooks({hosts}, {networks})\n")
        shop.app.webhooks(hosts, networks)
        submitted = zerog(*SUBMIT, "--notify", f"{receiver.url}/a", "--notify", f"{receiver.url}/b")
        (shop.folder / "jobs.json").write_text('[{"path": "war-and-peace.txt"}]')
        listed = zerog("submit", "myapp:app", "word_count", "--json", "jobs.json", "--notify", f"{receiver.url}/c")
        assert receiver.requests == []
        drain(shop.app)
        received = receiver.wait(3)
    one, other = submitted.stdout.strip(), listed.stdout.strip()
    ends = {
        (request.line.split()[1], verify(request.body, request.headers, secret)["data"]["uuid"]) for request in received
    }
    assert ends == {("/hooks/a", one), ("/hooks/b", one), ("/hooks/c", other)}


@pytest.mark.parametrize("url", ["https://evil.example/hush", "no url"])
def test_a_host_that_was_not_allowed_is_refused(shop: Shop, zerog: Zerog, url: str) -> None:
    """Before anything is stored; what follows the host is not repeated."""
    result = zerog(*SUBMIT, "--notify", url)
    assert result.exit_code == 2
    assert "Nothing was stored" in result.stderr
    assert "hush" not in result.stderr
    assert "No jobs." in zerog("jobs", "ls", "myapp:app").stdout
