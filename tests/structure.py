"""Figures of the code's structure, counted from its source: ``python -m tests.structure``."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import zerog

ROOT = Path(zerog.__file__).parent
"""The package whose files are counted, but for ``zerog.testing``."""


class Module(NamedTuple):
    """A file of the package."""

    name: str
    lines: int
    tree: ast.Module


class Function(NamedTuple):
    """A function or method."""

    where: str
    lines: int


@cache
def modules() -> list[Module]:
    """Return all modules of the package but the test aids."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        if parts[1] != "testing":
            text = path.read_text()
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found.append(Module(name, len(text.splitlines()), ast.parse(text)))
    return found


def functions(module: Module) -> Iterator[Function]:
    """Yield the functions and methods of a module."""
    for node in ast.walk(module.tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno is not None
            yield Function(f"{module.name}.{node.name}", node.end_lineno - node.lineno + 1)


def imported(module: Module, names: set[str]) -> set[str]:
    """Return the modules of the package that a module imports when it runs."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                continue
            if isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names if alias.name in names)
            elif isinstance(child, ast.ImportFrom) and child.module:
                for alias in child.names:
                    full = f"{child.module}.{alias.name}"
                    found.add(full if full in names else child.module)
            visit(child)

    visit(module.tree)
    return (found & names) - {module.name}


DOCUMENTED = {"_replace", "_asdict", "_exit", "_current_frames", "_serialize", "_deserialize"}
"""Names that are public by the documentation of Python and of marshmallow."""


def foreign_privates(module: Module) -> Iterator[str]:
    """Yield the uses of ``other._name``, where ``other`` is neither the object nor its class."""
    for node in ast.walk(module.tree):
        if not (isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__")):
            continue
        of = ast.unparse(node.value)
        if node.attr not in DOCUMENTED and of not in ("self", "cls", "super()"):
            yield f"{module.name}:{node.lineno} {ast.unparse(node)}"


def import_lines(module: Module) -> int:
    """Return how many lines of a module are imports."""
    return sum(
        (node.end_lineno or node.lineno) - node.lineno + 1
        for node in ast.walk(module.tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
    )


def report() -> str:
    """Return the figures as text."""
    found = modules()
    names = {module.name for module in found}
    lines: Counter[str] = Counter()
    files: Counter[str] = Counter()
    fan_out: dict[str, int] = defaultdict(int)
    for module in found:
        package = module.name.split(".")[1] if module.name.count(".") > 1 else "(top)"
        lines[package] += module.lines
        files[package] += 1
        fan_out[module.name] = len(imported(module, names))
    every = [function for module in found for function in functions(module)]
    total = sum(lines.values())
    out = [f"{'package':<14}{'files':>7}{'lines':>8}"]
    out += [f"{package:<14}{files[package]:>7}{count:>8}" for package, count in lines.most_common()]
    widest = sorted(fan_out.items(), key=lambda each: -each[1])[:8]
    longest = sorted(every, key=lambda function: -function.lines)[:5]
    largest = sorted(found, key=lambda module: -module.lines)[:8]
    privates = [use for module in found for use in foreign_privates(module)]
    share = sum(map(import_lines, found)) / total
    out += [
        f"{'all':<14}{len(found):>7}{total:>8}",
        "",
        f"largest files: {', '.join(f'{module.name} {module.lines}' for module in largest)}",
        f"longest functions: {', '.join(f'{function.where} {function.lines}' for function in longest)}",
        f"mean lines of a file: {total / len(found):.0f}",
        f"files that import more than 10: {sum(count > 10 for count in fan_out.values())}",
        f"mean fan-out {sum(fan_out.values()) / len(found):.1f}; most: {', '.join(f'{n} {c}' for n, c in widest)}",
        f"uses of another object's privates: {len(privates)}",
        f"import lines: {share:.1%}",
    ]
    return "\n".join(out)


if __name__ == "__main__":
    print(report())
