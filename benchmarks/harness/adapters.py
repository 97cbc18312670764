"""Adapters: found, their constants read without importing them, their virtualenvs made."""

from __future__ import annotations

import ast
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PEERS = Path(__file__).resolve().parents[1] / "peers"


@dataclass(frozen=True)
class Adapter:
    """An adapter file and the constants at its top."""

    path: Path
    name: str
    requires: tuple[str, ...] = ()
    module: str | None = None
    variants: dict[str, str] = field(default_factory=lambda: {"default": "none"})
    bulk: str | None = None
    progress: str | None = None
    venv: str = ""
    has_setup: bool = False

    @classmethod
    def read(cls, path: Path) -> Adapter:
        """Read an adapter's literal constants. Raises SystemExit if it has no NAME."""
        found: dict[str, Any] = {}
        names = set()
        for node in ast.parse(path.read_text()).body:
            names.add(getattr(node, "name", None))
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                with contextlib.suppress(ValueError):
                    found[node.targets[0].id] = ast.literal_eval(node.value)
        if "NAME" not in found:
            raise SystemExit(f"{path} has no NAME, so it is no adapter")
        return cls(
            path=path,
            name=found["NAME"],
            requires=tuple(found.get("REQUIRES", ())),
            module=found.get("MODULE"),
            variants=found.get("VARIANTS", {"default": "none"}),
            bulk=found.get("BULK"),
            progress=found.get("PROGRESS"),
            venv=found.get("VENV", found["NAME"]),
            has_setup="setup" in names,
        )


class Peer:
    """One variant of one adapter, with the virtualenv it runs in."""

    def __init__(self, adapter: Adapter, variant: str, venvs: Path) -> None:
        self.adapter = adapter
        self.variant = variant or next(iter(adapter.variants))
        if self.variant not in adapter.variants:
            raise SystemExit(f"{adapter.name} has no variant {variant}; there are {', '.join(adapter.variants)}")
        self.name = adapter.name + (f":{self.variant}" if len(adapter.variants) > 1 else "")
        self.servers = [kind for kind in adapter.variants[self.variant].split("+") if kind != "none"]
        self.venv = venvs.absolute() / adapter.venv
        self.python = self.venv / "bin" / "python"

    def install(self) -> None:
        """Make the virtualenv, unless it is there with the same requirements."""
        if not self.python.exists():
            print(f"creating the virtualenv of {self.adapter.name}", file=sys.stderr)
            subprocess.run([sys.executable, "-m", "venv", str(self.venv)], check=True)
        wanted = json.dumps(self.adapter.requires)
        stamp = self.venv / "requires.json"
        if stamp.exists() and stamp.read_text() == wanted:
            return
        if self.adapter.requires:
            pip = [str(self.python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
            subprocess.run([*pip, *self.adapter.requires], check=True, cwd=self.adapter.path.parent)
        stamp.write_text(wanted)

    def versions(self) -> dict[str, str]:
        """What is installed in the virtualenv, by name."""
        if not self.adapter.requires:
            return {}
        pip = [str(self.python), "-m", "pip", "list", "--format=json", "--disable-pip-version-check"]
        listed = json.loads(subprocess.run(pip, capture_output=True, check=True).stdout)
        tools = ("pip", "setuptools", "wheel")
        return {package["name"]: package["version"] for package in listed if package["name"] not in tools}


def find_peers(names: Iterable[str], extra: Iterable[str], venvs: Path) -> list[Peer]:
    """Return the peers named; an ``extra`` adapter takes part by its first variant even if it is not named.

    A name is ``name`` (the first variant), ``name:variant`` or ``name:*``. Raises SystemExit for an unknown one.
    """
    extras = [Path(path).resolve() for path in extra]
    adapters = {adapter.name: adapter for adapter in map(Adapter.read, [*sorted(PEERS.glob("*.py")), *extras])}
    peers: list[Peer] = []
    for name in names:
        base, _, variant = name.partition(":")
        if base not in adapters:
            raise SystemExit(f"there is no adapter {base}; there are {', '.join(adapters)}")
        adapter = adapters[base]
        peers += [Peer(adapter, v, venvs) for v in (adapter.variants if variant == "*" else [variant])]
    taking_part = {peer.adapter.path for peer in peers}
    peers += [Peer(a, "", venvs) for a in adapters.values() if a.path in extras and a.path not in taking_part]
    return peers
