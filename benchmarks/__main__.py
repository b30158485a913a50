"""Run the benchmark: `scripts/bench [--only PART] [--rounds N] [--json FILE]`; `--report FILE` draws."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from dataclasses import replace
from pathlib import Path

from tests.kit import rabbitmq

from benchmarks import report
from benchmarks.machine import describe
from benchmarks.parts import PARTS, Part
from benchmarks.rounds import Round, play


def main() -> None:
    """Parse the command line; play, or report what was played."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = [part.name for part in PARTS]
    parser.add_argument("--only", action="append", choices=names, help="a part; may be given several times")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--smoke", action="store_true", help="one round with a hundredth of the messages: does it run?")
    parser.add_argument("--messages", type=int, help="instead of each part's own number")
    parser.add_argument("--contestants", help="only those whose name contains one of these, separated by commas")
    parser.add_argument("--json", type=Path, help="write every measurement there")
    parser.add_argument(
        "--into", type=Path, help="put what is measured into this file of an earlier run, with its date"
    )
    parser.add_argument("--report", type=Path, help="measure nothing: write docs/performance from this file")
    arguments = parser.parse_args()
    if arguments.report:
        report.write(json.loads(arguments.report.read_text()))
        return
    parts = [_chosen(part, arguments.contestants) for part in PARTS if part.name in (arguments.only or names)]
    results: dict[str, list[Round]] = {}
    with rabbitmq.running() if any(part.broker for part in parts) else contextlib.nullcontext() as node:
        for part in parts:
            results[part.name] = rounds = []
            count = max(part.least, part.count // 100) if arguments.smoke else arguments.messages or part.count
            for number in range(
                1, 2 if arguments.smoke else min(arguments.rounds, part.rounds or arguments.rounds) + 1
            ):
                rounds.append({})
                for name, measured in play(part, count, node):
                    rounds[-1][name] = measured
                    print(f"{part.name} round {number}: {name}: {report.show(measured)}", file=sys.stderr, flush=True)
            print(report.table(part, rounds), flush=True)
            if arguments.json:
                document = {"machine": describe(), "parts": results}
                arguments.json.write_text(json.dumps(document, indent=1) + "\n")
    if arguments.into:
        document = json.loads(arguments.into.read_text())
        document["parts"] |= results
        document["machines"] = document.get("machines", {}) | dict.fromkeys(results, describe())
        arguments.into.write_text(json.dumps(document, indent=1) + "\n")


def _chosen(part: Part, wanted: str | None) -> Part:
    if wanted is None:
        return part
    words = wanted.split(",")
    chosen = tuple(each for each in part.contestants if any(word in each.name for word in words))
    return replace(part, contestants=chosen)


main()
