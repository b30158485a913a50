"""What is done while a lock is held: nothing that runs code of others, which may come back for the same lock."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import taskroute

SOURCE = Path(taskroute.__file__).parent
FILES = [path for path in sorted(SOURCE.rglob("*.py")) if "embedded" not in path.parts]

FOREIGN = re.compile(
    r"""
    (^|\.)log\.\w+$                                       # handlers of logging
    | (_|\.)emit$ | \.on_event$ | notifications\.\w+$       # hooks
    | \.(set_result|set_exception|cancel|add_done_callback)$  # callbacks of futures
    | (thread|session)\.(start|join)$                       # of threads: waits for one that may want the lock
    """,
    re.VERBOSE,
)
ALLOWED = {
    "publisher/publisher.py": {"submission.future.set_exception"},
    "publisher/window.py": {"room.set_result"},  # of a future that nobody else has yet
    "worker/republish.py": {"self.session.start"},  # who comes second waits until it is started
}
LOCK = re.compile(r"^threading\.(Lock|RLock|Condition)\(")


def locks_of(node: ast.ClassDef) -> set[str]:
    """Return the attributes that a class makes locks."""
    return {
        ast.unparse(target)
        for each in ast.walk(node)
        if isinstance(each, ast.Assign) and LOCK.match(ast.unparse(each.value))
        for target in each.targets
    }


def foreign_calls(tree: ast.Module) -> Iterator[str]:
    """Yield what is called in a block that holds a lock of its own class, and may run code of others."""
    for definition in [each for each in ast.walk(tree) if isinstance(each, ast.ClassDef)]:
        locks = locks_of(definition)
        for block in ast.walk(definition):
            if isinstance(block, ast.With) and locks & {ast.unparse(item.context_expr) for item in block.items}:
                for call in [each for statement in block.body for each in ast.walk(statement)]:
                    if isinstance(call, ast.Call) and FOREIGN.search(ast.unparse(call.func)):
                        yield ast.unparse(call.func)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_nothing_foreign_is_called_in_a_block_with_a_lock(path: Path) -> None:
    allowed = ALLOWED.get(str(path.relative_to(SOURCE)), set())

    assert set(foreign_calls(ast.parse(path.read_text()))) - allowed == set()
