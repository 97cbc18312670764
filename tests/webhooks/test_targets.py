"""Which hosts and addresses web hooks may lead to."""

from __future__ import annotations

import pytest

from zerog.exceptions import ConfigurationError, InvalidValue
from zerog.webhooks import new_secret
from zerog.webhooks.targets import Targets, hidden, target_of

SECRET = new_secret()


def targets(*hosts: str, networks: tuple[str, ...] = ()) -> Targets:
    return Targets(dict.fromkeys(hosts, SECRET), networks)


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/a?b=c",
        "https://HOOKS.example.com:443",
        "https://user:pass%40word@hooks.example.com/",
        "https://a.b.customers.example/x",
        "https://other.example:8443/",
        "http://hooks.internal/",
        "https://[2606:4700::1111]/",
    ],
)
def test_allowed_hosts(url: str) -> None:
    allowed = "hooks.example.com", "*.customers.example", "other.example:8443", "http://hooks.internal"
    assert targets(*allowed, "[2606:4700::1111]").check([url]) == [url]


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/",
        "http://hooks.example.com/",
        "https://hooks.example.com:8443/",
        "https://hooks.example.com.evil.example/",
        "https://hooks.example.com@evil.example/",
        "https://evilhooks.example.com/",
        "https://customers.example/",
        "https://evilcustomers.example/",
        "https://169.254.169.254/latest/meta-data",
    ],
)
def test_other_hosts_are_refused(url: str) -> None:
    with pytest.raises(InvalidValue, match=r"none of the hosts that app.webhooks\(\) allows. Nothing was stored"):
        targets("hooks.example.com", "*.customers.example").check([url])


@pytest.mark.parametrize(
    "url",
    [
        "ftp://hooks.example.com/",
        "file:///etc/passwd",
        "//hooks.example.com/",
        "https://",
        "https://hooks.example.com/\r\nX-Evil: 1",
        "https://hooks.example.com/ /",
        "https://hooks.example.com\\@evil.example/",
        "https://user:p/w@hooks.example.com/",
        "https://hooks.example.com/#part",
        "https://hooks.example.com:99999/",
        "https://[::1",
        "https://h\u00f6oks.example.com/",
        "https://hooks.example.com/" + "a" * 2_000,
        7,
    ],
)
def test_what_is_no_url_is_refused_and_not_shown(url: object) -> None:
    with pytest.raises(InvalidValue, match="is not as expected") as caught:
        targets("hooks.example.com").check([url])
    assert "evil" not in str(caught.value) and "p/w" not in str(caught.value)
    assert hidden(url) == "[secret]"


@pytest.mark.parametrize("urls", ["https://hooks.example.com/", 7, ["https://hooks.example.com/"] * 11])
def test_a_list_of_few_urls_is_expected(urls: object) -> None:
    with pytest.raises(InvalidValue, match=r"expected a list of URLs|expected at most 10"):
        targets("hooks.example.com").check(urls)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.example.com/services/T0/B0/token", "https://hooks.example.com/[secret]"),
        ("https://user:word@hooks.example.com:8443/", "https://hooks.example.com:8443/[secret]"),
        ("https://hooks.example.com/?key=1", "https://hooks.example.com/[secret]"),
        ("https://hooks.example.com", "https://hooks.example.com/"),
        (None, "[secret]"),
    ],
)
def test_what_follows_a_host_is_a_secret(url: str, shown: str) -> None:
    assert hidden(url) == shown


@pytest.mark.parametrize(
    "host",
    ["", "*", "hooks.example.com/path", "https://user@host", "hooks example", "ftp://host", "a#b", "host:port", None],
)
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(ConfigurationError, match="is no host of web hooks"):
        Targets({host: SECRET})


def test_lists_and_dicts_are_not_confused() -> None:
    with pytest.raises(ConfigurationError, match="are of type list; expected a dict"):
        Targets(["hooks.example.com"])  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="expected a list of networks"):
        targets(networks="10.0.0.0/8")  # type: ignore[arg-type]


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="expected some like"):
        targets(networks=("10.1.0.1/16",))


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:4700::1111", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"])
def test_public_addresses_are_allowed(address: str) -> None:
    assert targets().allows(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "100.127.255.254",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1%eth0",
        "fec0::1",
        "fc00::1",
        "fd00:ec2::254",
        "ff0e::1",
        "2001:db8::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:100.64.0.1",
        "::127.0.0.1",
        "::ffff:0:127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::7f00:1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "2001:0:4136:e378:8000:63bf:80ff:fffe",
    ],
)
def test_addresses_of_no_public_network_are_refused(address: str) -> None:
    """Loopback, private, link-local, shared, unique-local, multicast; also as IPv6 that stands for IPv4."""
    assert not targets().allows(address)


def test_an_app_may_name_its_own_networks() -> None:
    own = targets(networks=("10.1.0.0/16", "fd00:1::/32"))
    assert own.allows("10.1.2.3") and own.allows("::ffff:10.1.2.3") and own.allows("fd00:1::5")
    assert not own.allows("10.2.0.1") and not own.allows("fd00:2::5")


def test_parts_of_a_url() -> None:
    assert target_of("https://a:b@[2606:4700::1111]:8443/x?y=1") == (
        "https",
        "2606:4700::1111",
        8443,
        "/x?y=1",
        "a:b",
    )
    assert target_of("https://a:b@[2606:4700::1111]:8443/x?y=1").shown == "https://[2606:4700::1111]:8443"
