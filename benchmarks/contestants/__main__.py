"""Run one contestant once: `python -m benchmarks.contestants MODULE:FUNCTION TASK` prints what it measured as JSON."""

import importlib
import json
import sys

from benchmarks.contestants.task import Task


def main() -> None:
    """Import the module, call its function with the task, print what it returns."""
    where, task = sys.argv[1:]
    module, function = where.split(":")
    measured = getattr(importlib.import_module(f"benchmarks.contestants.{module}"), function)(Task(**json.loads(task)))
    print(json.dumps(measured), flush=True)


if __name__ == "__main__":
    main()
