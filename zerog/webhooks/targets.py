"""Where web hooks may lead: hosts that the app names, at addresses of the public network or of networks it names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from zerog.exceptions import ConfigurationError, InvalidValue
from zerog.webhooks.signing import keys_of

PORTS = {"https": 443, "http": 80}

LONGEST_URL = 2_000

MOST = 10
"""Addresses that one job notifies."""

UNICAST = IPv6Network("2000::/3")
"""The public IPv6 addresses of single machines."""

TRANSLATED = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
"""IPv6 addresses whose last 32 bits are an IPv4 address that a gateway connects to (RFC 6052, RFC 8215)."""

_is_url = re.compile(r"[!#-;=?-\[\]-~]+").fullmatch
"""Printable ASCII without spaces, quotes, ``<``, ``>`` and backslashes."""

_is_host = re.compile(r"(\*\.)?[a-z0-9_.-]+|\[[0-9a-f:.]+\]").fullmatch

Refuse = Callable[[str], Exception]


class Target(NamedTuple):
    """The parts of a URL that a request needs."""

    scheme: str
    host: str
    """In lower case; an IPv6 address without brackets."""
    port: int
    path: str
    user: str | None
    """User and password, ``user:password``, as they are in the URL; a secret."""

    @property
    def shown(self) -> str:
        """Scheme, host and port, as they may be logged: a path may be a secret, too."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if PORTS[self.scheme] == self.port else f":{self.port}")


def hidden(url: object) -> str:
    """Return a URL as it may be shown: what follows its host is a secret."""
    try:
        target = target_of(str(url))
    except InvalidValue:
        return "[secret]"
    return f"{target.shown}/[secret]" if target.path != "/" or target.user else f"{target.shown}/"


def target_of(url: object) -> Target:
    """Return the parts of a URL. Raises InvalidValue, which doesn't show it."""
    parts = _split(url)
    if parts is None:
        raise InvalidValue(
            "a URL to notify (not shown, as it may contain a secret) is not as expected: https://HOST/PATH in ASCII, "
            f"with at most {LONGEST_URL:,} characters, and no # or @ behind the host"
        )
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    user = parts.netloc.rpartition("@")[0] or None
    return Target(parts.scheme, str(parts.hostname), parts.port or PORTS[parts.scheme], path, user)


def _split(url: object) -> SplitResult | None:
    if not isinstance(url, str) or len(url) > LONGEST_URL or not _is_url(url) or "#" in url:
        return None
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in PORTS and parts.hostname and parts.port != 0
        return parts if is_usable and "@" not in parts.path + parts.query else None
    except ValueError:  # an odd port or address
        return None


class Host(NamedTuple):
    """A host that may be notified, or with ``*.`` all below a domain."""

    scheme: str
    name: str
    port: int
    keys: tuple[bytes, ...]

    def takes(self, target: Target) -> bool:
        """Return True for what leads there."""
        if (self.scheme, self.port) != (target.scheme, target.port):
            return False
        return target.host.endswith(self.name[1:]) if self.name.startswith("*.") else target.host == self.name


class Targets:
    """The hosts and networks that an app allows."""

    def __init__(self, hosts: Mapping[str, str | Iterable[str]] | None = None, networks: Iterable[str] = ()) -> None:
        """Raises ConfigurationError, which shows no secret."""
        if hosts is not None and not isinstance(hosts, Mapping):
            raise ConfigurationError(
                f"the hosts of web hooks are of type {type(hosts).__name__}; expected a dict: the secret by host"
            )
        if isinstance(networks, str):
            raise ConfigurationError(f"networks={networks!r:.80} of web hooks; expected a list of networks")
        self._hosts = [_host(name, keys_of(secret)) for name, secret in (hosts or {}).items()]
        try:
            self._networks = [ip_network(text) for text in networks]
        except ValueError as error:
            raise ConfigurationError(f"networks= of web hooks: {error}; expected some like 10.1.0.0/16") from None

    def keys(self, target: Target) -> tuple[bytes, ...]:
        """Return the keys with which requests to a target are signed. Raises InvalidValue if its host isn't allowed."""
        found = next((host for host in self._hosts if host.takes(target)), None)
        if found is None:
            raise InvalidValue(
                f"{target.shown} may not be notified: it is none of the hosts that app.webhooks() allows"
            )
        return found.keys

    def bases(self) -> list[str]:
        """Return the addresses of the allowed hosts, with which URLs begin; those of whole domains have none."""
        hosts = (host for host in self._hosts if not host.name.startswith("*."))
        return [f"{Target(host.scheme, host.name, host.port, '/', None).shown}/" for host in hosts]

    def check(self, urls: object) -> list[str]:
        """Return the URLs that a job notifies, as a list. Raises InvalidValue."""
        if isinstance(urls, (str, bytes)) or not isinstance(urls, Iterable):
            raise InvalidValue(f"notify is of type {type(urls).__name__}; expected a list of URLs. Nothing was stored.")
        found = list(urls)
        if len(found) > MOST:
            raise InvalidValue(f"{len(found)} URLs to notify; expected at most {MOST}. Nothing was stored.")
        try:
            for url in found:
                self.keys(target_of(url))
        except InvalidValue as error:
            raise InvalidValue(f"{error}. Nothing was stored.") from None
        return found

    def fields(self, own: Iterable[str], given: Iterable[str] | None) -> dict[str, Any]:
        """Return the field of a new job whose class has ``own`` as NOTIFY, and whose submit gave ``given``.

        Raises InvalidValue for a URL that isn't allowed.
        """
        urls = self.check(own if given is None else given)
        return {} if given is None else {"notify": urls}

    def allows(self, address: str) -> bool:
        """Return True if an address may be connected to: it is public, or of one of the app's networks."""
        real = _real(ip_address(address.partition("%")[0]))
        if any(real.version == network.version and real in network for network in self._networks):
            return True
        if isinstance(real, IPv6Address):
            return real.is_global and real in UNICAST
        return real.is_global and not (real.is_multicast or real.is_reserved)


def _real(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 one stands for, if it does."""
    if isinstance(address, IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
    if inner is None and any(address in network for network in TRANSLATED):
        inner = IPv4Address(int(address) & 0xFFFFFFFF)
    return inner or address


def _host(text: object, keys: tuple[bytes, ...]) -> Host:
    name = text if isinstance(text, str) else ""
    parts = _split(name if "://" in name else f"https://{name}")
    if parts is None or parts.path or parts.query or "@" in parts.netloc or not _is_host(_in_url(str(parts.hostname))):
        raise ConfigurationError(
            f"{text!r:.80} is no host of web hooks; expected a name such as hooks.example.com, *.example.com, "
            "hooks.example.com:8443, or http://hooks.internal without encryption"
        )
    return Host(parts.scheme, str(parts.hostname), parts.port or PORTS[parts.scheme], keys)


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
