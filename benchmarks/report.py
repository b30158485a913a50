"""The results as tables, and as plots for the documentation."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.parts import PARTS, Part, Target
from benchmarks.rounds import Metrics, Round

FOLDER = Path(__file__).parent.parent / "docs" / "performance"
_OWN, _OTHERS = "#2b7a4b", "#9aa5b1"


def show(measured: Metrics) -> str:
    """Metrics in a line."""
    return ", ".join(f"{name} {_number(value)}" for name, value in measured.items())


def table(part: Part, rounds: Sequence[Round]) -> str:
    """Medians, targets with their ratio round by round, in Markdown."""
    names = [contestant.name for contestant in part.contestants]
    metrics = list(dict.fromkeys(metric for name in names for metric in rounds[0][name]))
    lines = [f"### {part.title}", "", f"| {part.name} | " + " | ".join(metrics) + " |"]
    lines.append("|---" * (len(metrics) + 1) + "|")
    for name in names:
        cells = [_median(rounds, name, metric) if metric in rounds[0][name] else None for metric in metrics]
        lines.append(f"| {name} | " + " | ".join("" if cell is None else _number(cell) for cell in cells) + " |")
    targets = [target for target in part.targets if {target.of, target.against or target.of} <= set(names)]
    if targets:
        lines += ["", "| target | median | round by round | met |", "|---|---|---|---|"]
        lines += [_target_row(target, rounds) for target in targets]
    return "\n".join(lines) + "\n"


def _target_row(target: Target, rounds: Sequence[Round]) -> str:
    ratios = [
        each[target.of][target.metric] / (each[target.against][target.metric] if target.against else 1)
        for each in rounds
    ]
    median = statistics.median(ratios)
    met = median <= target.bound if target.at_most else median >= target.bound
    what = f"{target.of}: {target.metric} {'<=' if target.at_most else '>='} {target.bound:g}"
    what += f" x {target.against}" if target.against else ""
    return f"| {what} | {_number(median)} | {', '.join(map(_number, ratios))} | {'yes' if met else '**no**'} |"


def write(document: Mapping[str, Any]) -> None:
    """Write the tables and plots of the documentation."""
    FOLDER.mkdir(exist_ok=True)
    played = [part for part in PARTS if part.name in document["parts"]]
    machine = "\n".join(f"- {name}: {value}" for name, value in document["machine"].items())
    sections = []
    for part in played:
        rounds = document["parts"][part.name]
        picture = _plot(part, rounds)
        later = document.get("machines", {}).get(part.name)
        measured = (
            f"\nMeasured later, on {later['date']}: {later['processor']}, Python {later['python']}.\n" if later else ""
        )
        drawn = f"\n![{part.title}](performance/{picture})\n" if picture else ""
        sections.append(table(part, rounds) + measured + drawn)
    text = f"{machine}\n\n" + "\n".join(sections)
    (FOLDER / "results.md").write_text(text)


def _plot(part: Part, rounds: Sequence[Round]) -> str | None:
    if len(part.contestants) < 2:
        return None
    from matplotlib import rcParams
    from matplotlib.figure import Figure

    rcParams["svg.hashsalt"] = "taskroute"  # the same picture for the same figures
    names = [contestant.name for contestant in part.contestants][::-1]
    medians = [_median(rounds, name, part.metric) for name in names]
    figure = Figure(figsize=(8, 0.7 + 0.36 * len(names)), layout="constrained")
    axes = figure.subplots()
    own = [contestant.name for contestant in part.contestants if contestant.run.startswith("taskroute_")]
    colours = [_OWN if name in own or name.startswith("taskroute") else _OTHERS for name in names]
    bars = axes.barh(names, medians, color=colours)
    for name, row in zip(names, range(len(names)), strict=True):
        points = [each[name][part.metric] for each in rounds]
        axes.plot(points, [row] * len(points), "|", color="#1f2933", markersize=9)
    axes.bar_label(bars, labels=[_number(value) for value in medians], padding=6, fontsize=8)
    axes.set_xlabel(part.unit if part.metric == "rate" else f"{part.metric}, {part.unit}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.12)
    name = f"{part.name}.svg"
    figure.savefig(FOLDER / name, metadata={"Date": None})
    return name


def _median(rounds: Sequence[Round], name: str, metric: str) -> float:
    return statistics.median(each[name][metric] for each in rounds)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
