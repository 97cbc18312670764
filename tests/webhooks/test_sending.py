"""One attempt: to the address that was checked, within its time, and little is read of the answer."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from typing import Any

import pytest
import trustme

from tests.webhooks.receiver import OK, Received, Receiver, sending
from zerog.webhooks import new_secret, verify
from zerog.webhooks import sending as sender
from zerog.webhooks.sending import NotDelivered, send
from zerog.webhooks.targets import Targets

SECRET = new_secret()
LOCAL = ("127.0.0.0/8",)
BODY = b'{"type":"job.succeeded"}'


def allowed(receiver: Receiver, name: str = "127.0.0.1", scheme: str = "http") -> Targets:
    return Targets({f"{scheme}://{name}:{receiver.port}": SECRET}, LOCAL)


def refusal(targets: Targets, url: str) -> NotDelivered:
    with pytest.raises(NotDelivered) as caught:
        send(targets, url, "m1", BODY)
    return caught.value


def resolve(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Let names have these addresses, one answer after the other; returns the names that were looked up."""
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, **_more: Any) -> list[Any]:
        found = answers[min(len(asked), len(answers) - 1)]
        asked.append(host)
        family = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(family[":" in address], socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(sender.socket, "getaddrinfo", getaddrinfo)
    return asked


def connections(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The addresses that are connected to; none is reached."""
    reached: list[Any] = []

    def connect(_self: Any, address: Any) -> None:
        reached.append(address[0])
        raise ConnectionRefusedError("not in a test")

    monkeypatch.setattr(sender.socket.socket, "connect", connect)
    return reached


def test_a_request_is_signed_and_whole() -> None:
    with Receiver() as receiver:
        assert send(allowed(receiver), receiver.url + "?a=b", "m1", BODY) == 204
        [request] = receiver.requests
    assert request.line == "POST /hooks?a=b HTTP/1.1"
    assert verify(request.body, request.headers, SECRET) == {"type": "job.succeeded"}
    assert request.headers["content-type"] == "application/json"
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert "authorization" not in request.headers


def test_user_and_password_are_sent_as_such() -> None:
    with Receiver() as receiver:
        send(allowed(receiver), receiver.url.replace("//", "//ann:p%40ss@"), "m1", BODY)
        [request] = receiver.requests
    assert request.headers["authorization"] == "Basic YW5uOnBAc3M="


def test_a_certificate_is_checked_against_the_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """And the name is resolved once: a second answer, of another machine, is never asked for."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("hooks.example.com").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    asked = resolve(monkeypatch, ["127.0.0.1"])
    with Receiver(context=context) as receiver:
        assert send(
            allowed(receiver, "hooks.example.com", "https"), f"https://hooks.example.com:{receiver.port}/", "m1", BODY
        )
        assert asked == ["hooks.example.com"]
        other = refusal(allowed(receiver, "other.example.com", "https"), f"https://other.example.com:{receiver.port}/")
        assert "certificate verify failed" in str(other)
        assert len(receiver.requests) == 1


def test_a_name_that_changes_its_address_leads_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: the address that was checked is the one connected to."""
    asked, reached = resolve(monkeypatch, ["93.184.216.34"], ["127.0.0.1"]), connections(monkeypatch)
    failure = refusal(Targets({"hooks.example.com": SECRET}), "https://hooks.example.com/")
    assert "ConnectionRefusedError" in str(failure)
    assert (asked, reached) == (["hooks.example.com"], ["93.184.216.34"])


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "169.254.169.254", "10.0.0.1", "100.64.0.1", "::ffff:169.254.169.254", "fd00:ec2::254"]
)
def test_a_name_with_an_inner_address_is_not_connected_to(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, [address])
    reached = connections(monkeypatch)
    failure = refusal(Targets({"hooks.example.com": SECRET}), "https://hooks.example.com/token")
    assert f"it has the address {address}, which is not public" in str(failure)
    assert reached == []


def test_of_several_addresses_only_the_allowed_ones_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, ["127.0.0.1", "2606:4700::1111", "169.254.169.254", "93.184.216.34"])
    reached = connections(monkeypatch)
    refusal(Targets({"hooks.example.com": SECRET}), "https://hooks.example.com/")
    assert reached == ["2606:4700::1111", "93.184.216.34"]


def test_a_host_that_is_allowed_no_more_is_refused() -> None:
    assert "none of the hosts" in str(refusal(Targets(), "https://hooks.example.com/"))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    """To an address with secrets of the machine, for instance."""
    with Receiver() as other:
        location = f"Location: http://169.254.169.254/\r\nLocation: {other.url}"
        with Receiver(sending(f"HTTP/1.1 {status} Moved\r\n{location}\r\n\r\n".encode())) as receiver:
            failure = refusal(allowed(receiver), receiver.url)
        assert other.requests == []
    assert str(failure).endswith(f"answered {status}; redirects are not followed")
    assert failure.status == status


def test_no_proxy_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver() as proxy, Receiver() as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        send(allowed(receiver), receiver.url, "m1", BODY)
        assert (len(proxy.requests), len(receiver.requests)) == (0, 1)


def endless(part: bytes) -> Any:
    """Send these bytes again and again, until the sender has left."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 ")
        while True:
            connection.sendall(part)

    return answer


@pytest.mark.parametrize("part", [b"x" * 4096, b"100 Continue\r\n\r\nHTTP/1.1 ", b"200 OK\r\n" + b"A: b\r\n" * 1000])
def test_an_endless_answer_is_cut_off(part: bytes) -> None:
    with Receiver(endless(part)) as receiver:
        failure = refusal(allowed(receiver), receiver.url)
    assert failure.status is None
    assert "was not notified" in str(failure)


def test_a_long_body_is_not_read() -> None:
    """The status is enough."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    with Receiver(answer) as receiver:
        assert send(allowed(receiver), receiver.url, "m1", BODY) == 200


def dripping(wait: threading.Event) -> Any:
    """Send a byte now and then, so that no single wait is long."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not wait.wait(0.01):
            connection.sendall(b"x")

    return answer


@pytest.mark.parametrize("kind", ["silent", "dripping"])
def test_a_slow_answer_ends_in_time(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "PATIENCE", 0.3)
    over = threading.Event()
    answer = dripping(over) if kind == "dripping" else lambda _connection: over.wait(60)
    with Receiver(answer) as receiver:
        start = time.monotonic()
        failure = refusal(allowed(receiver), receiver.url)
        assert time.monotonic() - start < 30
        over.set()
    assert "no answer within 0.3 s" in str(failure)


@pytest.mark.parametrize("answer", [b"", b"\x00\xff\r\n\r\n", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 banana\r\n\r\n"])
def test_what_is_no_answer_is_a_failure(answer: bytes) -> None:
    with Receiver(sending(answer)) as receiver:
        assert "was not notified" in str(refusal(allowed(receiver), receiver.url))


def test_a_receiver_may_ask_for_time() -> None:
    head = b"HTTP/1.1 503 Busy\r\nRetry-After: "
    with Receiver(
        sending(head + b"120\r\n\r\n"), sending(head + b"999999999\r\n\r\n"), sending(head + b"soon\r\n\r\n")
    ) as receiver:
        failures = [refusal(allowed(receiver), receiver.url) for _ in range(3)]
    assert [(failure.status, failure.delay) for failure in failures] == [(503, 120.0), (503, 86_400.0), (503, None)]


def test_no_failure_shows_what_follows_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither its text nor the exceptions before it."""
    resolve(monkeypatch, ["127.0.0.1"])
    connections(monkeypatch)
    for url in ("http://ann:hush@127.0.0.1:1/hush?hush", "http://other.example/hush"):
        failure = refusal(Targets({"http://127.0.0.1:1": SECRET}, LOCAL), url)
        assert "hush" not in str(failure)
        assert failure.__suppress_context__


def test_the_receiver_is_what_it_claims() -> None:
    """The aid of these tests: it reads a request and answers it."""
    with Receiver(sending(OK)) as receiver, socket.create_connection(("127.0.0.1", receiver.port)) as client:
        client.sendall(b"POST /x HTTP/1.1\r\nContent-Length: 2\r\n\r\nab")
        assert client.recv(100) == OK
        assert receiver.requests == [Received("POST /x HTTP/1.1", {"content-length": "2"}, b"ab")]
