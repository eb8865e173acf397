"""Measures the shape of the source: ``uv run python tests/structure.py [CHECKOUT ...]``.

Counts the files under ``packages/*/src`` and ``apps/*/src``. A data carrier is a dataclass, named
tuple, pydantic model or TypedDict without a method of its own (validators and properties count as
methods). A file edge is an import of one file by another of the same package outside its directory.
A cycle is a set of files that import each other at import time, directly or not.
"""

from __future__ import annotations

import ast
import statistics
import sys
from collections import Counter
from pathlib import Path

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
CARRIERS = {"BaseModel", "Contract", "Settings", "NamedTuple", "TypedDict"}


def measure(root: Path) -> dict[str, str]:
    """Returns each figure of a checkout by its name."""
    files = sorted(root.glob("[ap]*/*/src/*/**/*.py"))
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in files}
    classes = [node for tree in trees.values() for node in ast.walk(tree) if is_class(node)]
    lengths = [
        node.end_lineno - node.lineno + 1
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, FUNCTIONS)
    ]
    per_directory = Counter(path.parent for path in files if path.name != "__init__.py")
    edges = import_edges(root, trees)
    parts = {(part(a), part(b)) for a, b in edges if part(a) != part(b)}
    return {
        "lines": f"{sum(len(path.read_text().splitlines()) for path in files):,}",
        "files": str(len(files)),
        "classes": str(len(classes)),
        "data carriers": str(sum(map(is_carrier, classes))),
        "files in a directory, most": str(max(per_directory.values())),
        "files in a directory, median": f"{statistics.median(per_directory.values()):.0f}",
        "edges between parts of a package": str(len(parts)),
        "import cycles": str(len(cycles(edges))),
        "lines of a function, median": f"{statistics.median(lengths):.0f}",
        "lines of a function, 95th percentile": f"{statistics.quantiles(lengths, n=20)[-1]:.0f}",
    }


def is_class(node: ast.AST) -> bool:
    return isinstance(node, ast.ClassDef)


def is_carrier(node: ast.ClassDef) -> bool:
    """Whether a class only holds data."""
    decorators = {ast.unparse(each).partition("(")[0] for each in node.decorator_list}
    bases = {ast.unparse(each).rpartition(".")[2] for each in node.bases}
    holds = "dataclass" in decorators or bool(bases & CARRIERS)
    return holds and not any(isinstance(each, FUNCTIONS) for each in node.body)


def import_edges(root: Path, trees: dict[Path, ast.Module]) -> set[tuple[Path, Path]]:
    """Returns importing and imported file of each import within a package."""
    modules = {module_name(path): path for path in trees}
    edges = set()
    for path, tree in trees.items():
        package = module_name(path).partition(".")[0]
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                named = [f"{node.module}.{alias.name}" for alias in node.names]
                targets = [name if name in modules else node.module for name in named]
            elif isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            else:
                continue
            for target in targets:
                if target in modules and target.partition(".")[0] == package:
                    edges.add((path, modules[target]))
    return {(a, b) for a, b in edges if a != b}


def part(path: Path) -> str:
    """Returns the package and its file or directory at the top level that a file belongs to."""
    return ".".join(module_name(path).split(".")[:2])


def module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    parts = parts[len(parts) - 1 - parts[::-1].index("src") + 1 :]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def cycles(edges: set[tuple[Path, Path]]) -> list[set[Path]]:
    """Returns the sets of files that reach each other (strongly connected components, Tarjan)."""
    graph: dict[Path, list[Path]] = {}
    for a, b in edges:
        graph.setdefault(a, []).append(b)
        graph.setdefault(b, [])
    index: dict[Path, int] = {}
    low: dict[Path, int] = {}
    stack: list[Path] = []
    found: list[set[Path]] = []

    def visit(node: Path) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph[node]:
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            component = set(stack[stack.index(node) :])
            del stack[stack.index(node) :]
            if len(component) > 1:
                found.append(component)

    for node in graph:
        if node not in index:
            visit(node)
    return found


def main() -> None:
    """Prints the figures of the checkouts side by side."""
    roots = [Path(each) for each in sys.argv[1:]] or [Path(__file__).parents[1]]
    columns = [measure(root) for root in roots]
    for name in columns[0]:
        print(f"{name:<44}" + "".join(f"{column[name]:>10}" for column in columns))


if __name__ == "__main__":
    main()
