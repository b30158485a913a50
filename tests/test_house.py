"""Rules for the tests: what they share is in `tests/kit`, and only one module of it reads private names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent
TREES = {str(path.relative_to(TESTS)): ast.parse(path.read_text()) for path in sorted(TESTS.rglob("*.py"))}
CONFTESTS = {file: tree for file, tree in TREES.items() if file.endswith("conftest.py")}

DOCUMENTED = ("os._exit", "._replace", "._asdict")
"""Public, although their names begin with an underscore."""

Place = tuple[int, str]
"""A line, and what stands there."""


def imports(tree: ast.Module) -> Iterator[Place]:
    """Yield full names, also those that a program in a string imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{'.' * node.level}{node.module or ''}.{alias.name}") for alias in node.names)
        else:
            yield from found(node, r"^(?:from|import) (tests\S*(?: import \w+)?)")


def private_names(tree: ast.Module) -> Iterator[Place]:
    """Yield private names of others, also those in a program in a string: not a class's own."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            if ast.unparse(node.value) not in ("self", "cls"):
                yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, alias.name) for alias in node.names if is_private(alias.name))
        else:
            yield from found(node, r"(\b(?!(?:self|cls)\b)\w+\._[a-z]\w*)")


def found(node: ast.AST, pattern: str) -> Iterator[Place]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield from ((node.lineno, text) for text in re.findall(pattern, node.value, re.MULTILINE))


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def is_fixture_or_hook(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef) and (
        node.name.startswith("pytest_") or any("pytest.fixture" in ast.unparse(each) for each in node.decorator_list)
    )


def test_no_module_imports_from_a_test_module_or_a_conftest() -> None:
    wrong = [
        f"tests/{file}:{line} imports {name}"
        for file, tree in TREES.items()
        for line, name in imports(tree)
        if re.search(r"(^|[. ])(test_|conftest\b)", name)
    ]

    assert not wrong, "what modules share belongs into tests/kit, or a module that holds no tests:\n" + "\n".join(wrong)


def test_conftest_defines_only_fixtures_and_hooks() -> None:
    wrong = [
        f"tests/{file}:{node.lineno} defines {node.name}"
        for file, tree in CONFTESTS.items()
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not is_fixture_or_hook(node)
    ]

    assert not wrong, "what is no fixture belongs into a module that others can import:\n" + "\n".join(wrong)


def test_private_names_are_read_by_one_module_only() -> None:
    """A change inside the library then breaks only one module of the tests."""
    wrong = [
        f"tests/{file}:{line} reads {name}"
        for file, tree in TREES.items()
        if file != "kit/inside.py"
        for line, name in private_names(tree)
        if not name.endswith(DOCUMENTED)
    ]

    assert not wrong, "ask tests/kit/inside.py, or what is public:\n" + "\n".join(wrong)


def test_deadline_is_defined_once() -> None:
    places = [
        (file, node.lineno)
        for file, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node.id == "DEADLINE" and isinstance(node.ctx, ast.Store)
    ]

    assert [file for file, _ in places] == ["kit/waiting.py"], f"import DEADLINE from tests.kit.waiting: {places}"
