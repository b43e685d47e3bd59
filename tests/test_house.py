"""The house keeps its order: floors on paper are those that are checked, and nothing outgrows its room."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import LONGEST

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
ROOMS = ("raysearch", "strategies", "cluster")
FILE_LINES, FUNCTION_LINES, CLASS_METHODS, CHILDREN = 400, 50, 20, 28
CHAIN = 14  # files


def modules() -> dict[str, Path]:
    """Every module of ours, by its dotted name; the links inside raysearch/ are followed once."""
    found = {}
    for file in (file for room in ROOMS for file in (ROOT / room).rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        parts = parts if parts[0] == "raysearch" else ("raysearch", *parts)
        found[".".join(parts).removesuffix(".__init__")] = file
    return found


MODULES = modules()
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def nodes(kind: type[ast.AST] | tuple[type[ast.AST], ...]) -> Iterator[tuple[str, ast.AST]]:
    for name, file in MODULES.items():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, kind):
                yield f"{name}.{getattr(node, 'name', '')}", node


def test_no_file_is_longer_than_a_sitting() -> None:
    lines = {name: file.read_text().count("\n") for name, file in MODULES.items()}
    assert {name: count for name, count in lines.items() if count > FILE_LINES} == {}


def test_no_function_is_longer_than_a_page() -> None:
    lines = {name: node.end_lineno - node.lineno + 1 for name, node in nodes(FUNCTIONS)}
    assert {name: count for name, count in lines.items() if count > FUNCTION_LINES} == {}


def test_no_class_has_more_methods_than_can_be_kept_in_mind() -> None:
    classes = [*nodes(ast.ClassDef)]
    methods = {name: sum(isinstance(one, FUNCTIONS) for one in node.body) for name, node in classes}
    assert {name: count for name, count in methods.items() if count > CLASS_METHODS} == {}


def test_the_package_has_few_doors() -> None:
    children = {".".join(name.split(".")[:2]) for name in MODULES if name != "raysearch"}
    assert len(children) <= CHILDREN, sorted(children)


def imports(name: str) -> set[str]:
    """Modules of ours that a module imports: when it is loaded, and inside of functions."""
    found: set[str] = set()

    def look(node: ast.AST) -> None:
        for one in ast.iter_child_nodes(node):
            if isinstance(one, ast.If) and "TYPE_CHECKING" in ast.unparse(one.test):
                continue
            if isinstance(one, ast.ImportFrom):
                whole = [f"{one.module}.{alias.name}" for alias in one.names]
                found.update(sub if sub in MODULES else str(one.module) for sub in whole)
            elif isinstance(one, ast.Import):
                found.update(alias.name for alias in one.names)
            look(one)

    look(ast.parse(MODULES[name].read_text()))
    return (found & set(MODULES)) - {name}


def test_no_chain_of_imports_is_long() -> None:
    above = {name: imports(name) for name in MODULES}
    longest: dict[str, list[str]] = {}

    def chain(name: str, seen: tuple[str, ...]) -> list[str]:
        if name in seen:
            pytest.fail("a circle of imports: " + " -> ".join([*seen[seen.index(name) :], name]))
        if name not in longest:
            below = [chain(one, (*seen, name)) for one in sorted(above[name])]
            longest[name] = [name, *max(below, key=len, default=[])]
        return longest[name]

    worst = max((chain(name, ()) for name in MODULES), key=len)
    assert len(worst) <= CHAIN, " -> ".join(worst)


def test_contributing_shows_the_floors_that_are_checked() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = pyproject["tool"]["importlinter"]["contracts"]
    checked = next(one for one in contracts if one["type"] == "layers")
    assert checked["exhaustive"]
    assert len(checked["layers"]) <= 12
    for page in (".github/CONTRIBUTING.md", "notebooks/architecture.md"):
        block = re.search(r"```floors\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
        assert block is not None, f"{page} has no block of floors"
        shown = [line.split("  ")[0] for line in block[1].splitlines()]
        assert shown == checked["layers"], page


TEXTS = {"str(error)", "error.args[0]", "error.args", "outcome.error", "trained.error", "segment.reason"}
EXCUSED = {
    "raysearch.core.library_errors",
    "raysearch.cluster.jobs",  # picks the line of a job's error that people see
}
PATTERNS = (".search", ".match", ".findall")


def sentences_read(tree: ast.AST) -> list[str]:
    """Expressions that look into the text of an error."""
    found = []
    for node in ast.walk(tree):
        looked_in: list[ast.expr] = []
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.In, ast.NotIn)):
            looked_in = node.comparators
        elif isinstance(node, ast.Attribute) and node.attr in ("startswith", "endswith", "partition", "find"):
            looked_in = [node.value]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(PATTERNS):
            looked_in = node.args
        found += [ast.unparse(node) for one in looked_in if ast.unparse(one) in TEXTS]
    return found


def test_no_decision_reads_a_sentence_outside_of_the_one_file_for_libraries() -> None:
    """What a library has no type for stands in `core.library_errors`."""
    trees = {name: ast.parse(file.read_text()) for name, file in MODULES.items()}
    assert sentences_read(ast.parse("if 'no luck' in str(error) or str(error).startswith('no'): pass"))
    found = {name: read for name, tree in trees.items() if (read := sentences_read(tree))}
    assert {name: read for name, read in found.items() if name not in EXCUSED} == {}


def test_the_files_of_tests_that_are_begun_first_are_there() -> None:
    there = {file.stem for file in Path(__file__).parent.glob("test_*.py")}
    assert {f"test_{name}" for name in LONGEST} <= there
