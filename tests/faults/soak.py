"""Soak: two workers and a publisher in processes of their own, and one fault after another; then the ledger.

    python -m tests.faults.soak --minutes 3 [--nodes N] [--seed N] [--only TEXT] [--without TEXT] [--report FILE]

Handlers fail throughout, one message in ten for good. Two to four seconds after the work goes on as before, the next
fault strikes. Which one and what it does follows from the seed.

The run fails if anything is lost or made up, if duplicates go beyond the bound, if a letter says a wrong reason, if
work does not go on or a retry is not back within a minute, if a worker stands still for ten seconds and gives no
reason, and if it loses its connection over what is no reason to. It also fails if it proved nothing: no fault, no
disconnect, too few messages.
"""

from __future__ import annotations

import argparse
import platform
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.faults import ledger, letters, nemesis, service
from tests.faults.scene import QUEUES, QUIET, RATE, RECOVERY_DEADLINE, Scene, scene

STEPS: Mapping[str, Callable[[Scene], float | None]] = {
    "publishing": lambda on: on.await_one_more("confirmed"),
    "handling": lambda on: on.await_one_more("done"),
    "republishing in each worker": Scene.await_republishing,
    "every retry": Scene.await_retries,
}
"""What has to go on after a fault, in this order, and how to wait for it."""


@dataclass(frozen=True)
class Strike:
    """A fault that struck, and when each of the steps was done: seconds after its end."""

    fault: str
    after: Mapping[str, float]

    @property
    def missing(self) -> str | None:
        """The step that did not come."""
        return next((step for step in STEPS if step not in self.after), None)

    def __str__(self) -> str:
        return f"{self.fault}: " + ", ".join(f"{step} after {seconds:.2f} s" for step, seconds in self.after.items())


def deck(names: Sequence[str], dice: random.Random) -> Iterator[str]:
    """Names of faults for ever, shuffled, each as often as the others."""
    while True:
        yield from dice.sample(sorted(names), len(names))


class Run:
    """One soak: faults until the time is over, and what is wrong."""

    def __init__(self, on: Scene, seed: int, only: str, without: str = "") -> None:
        self._on = on
        self._only = only
        self._without = without
        self._dice = random.Random(seed)
        self._known: set[tuple[int, float]] = set()
        self.strikes: list[Strike] = []
        self.withheld: Counter[str] = Counter()
        self.problems: list[str] = []

    def strike_until(self, end: float) -> None:
        """Let one fault after the other strike."""
        faults = {
            name: fault
            for name, fault in nemesis.faults(self._on, self._dice).items()
            if self._only in name and not (self._without and self._without in name)
        }
        if not faults:
            raise SystemExit(f"--only {self._only!r} is in no fault's name")
        names = deck(tuple(faults), self._dice)
        while True:
            QUIET.wait(self._dice.uniform(2, 4))
            if time.monotonic() > end:
                return
            name = next(names)
            cuts = self._cuts()
            if faults[name]() is False:
                self.withheld[name] += 1
                print(f"     {name}: withheld, the queues did not become empty", flush=True)
            self._await_work(name)
            self._note_standstills(name)
            if name in nemesis.GENTLE and self._cuts() > cuts:
                self._report(f"CUT: {self._cuts() - cuts} connections that consume were lost by {name}")

    def _cuts(self) -> int:
        # A cluster of RabbitMQ 3.10 may close a connection with an error of its own while a queue is deleted.
        return self._on.disconnects(but_for="INTERNAL_ERROR")["taskroute-worker"]

    def _await_work(self, fault: str) -> None:
        after: dict[str, float] = {}
        for step, wait in STEPS.items():
            seconds = wait(self._on)
            if seconds is None:
                break
            after[step] = seconds + max(after.values(), default=0.0)
        strike = Strike(fault, after)
        self.strikes.append(strike)
        print(f"{len(self.strikes):4} {strike}", flush=True)
        if strike.missing is not None:
            self._report(
                f"NOT WITHIN {RECOVERY_DEADLINE:.0f} s after {fault}: {strike.missing}; not tried again yet: "
                f"{', '.join(self._on.missing()[:10]) or 'none'}; last said: {'; '.join(self._on.last_beats())}"
            )
            self._on.renew()

    def _note_standstills(self, fault: str) -> None:
        for standstill in self._on.standstills():
            if standstill.key in self._known:  # it may have gone on since it was found
                continue
            self._known.add(standstill.key)
            self._report(f"{standstill} (last fault: {fault})")
            for line in standstill.sample():
                print(f"       {line}", flush=True)

    def finish(self, minutes: float) -> str:
        """Let what is left be done, read the ledgers, and return what the report says of them."""
        on = self._on
        if not on.drain():
            totals = dict(zip(QUEUES, on.totals(*QUEUES), strict=True))
            self._report(f"UNFINISHED: messages are left in {totals}; what no queue delivers counts as lost, too")
        self._note_standstills("the end of publishing")
        disconnects = on.disconnects()
        bound = allowed(disconnects, cuts=on.kills + on.stops, left_in_flight=on.left_in_flight())
        left = ledger.drain(on.node.url(), QUEUES)
        verdict = ledger.check(
            ledger.read(on.folder),
            dead=[letter.body for letter in on.letters],
            left=left,
            max_duplicates=bound,
            min_confirmed=int(minutes * 60 * RATE * 0.2),
        )
        wrong = letters.wrong(on.letters, belongs=service.fails_always, attempts=len(service.DELAYS) + 1)
        for problem in (*verdict.problems, *wrong[:10]):
            self._report(problem)
        if any(on.exit_codes):
            self._report(f"EXIT CODES of processes that were asked to stop: {on.exit_codes}")
        if not self.strikes:
            self._report("VACUOUS: no fault was fired")
        if not (disconnects or self._only):
            self._report("VACUOUS: no disconnect was seen")
        return _figures(verdict, letters.lateness(on.folder, service.DELAYS), disconnects, bound)

    def _report(self, problem: str) -> None:
        print(f"     PROBLEM: {problem}", flush=True)
        self.problems.append(problem)


def allowed(disconnects: Counter[str], *, cuts: int, left_in_flight: int) -> int:
    """Return how many copies the contract allows: a prefetch for each cut of a worker, a window for a publisher's.

    A worker that stops counts as one: its last acknowledgements may be forgotten. What was unconfirmed on a channel
    that was left may have been sent again as well.
    """
    sizes = {name: service.WINDOW if "publisher" in name else service.PREFETCH for name in disconnects}
    return sum(count * sizes[name] for name, count in disconnects.items()) + cuts * service.PREFETCH + left_in_flight


def _figures(verdict: ledger.Verdict, late: letters.Lateness, disconnects: Counter[str], bound: int) -> str:
    lost = next((problem for problem in verdict.problems if problem.startswith("LOST")), "lost: 0")
    came_back = (
        f"- {late.came_back} retries came back, {late.late} of them more than {letters.LATE:.0f} s late (an outage "
        f"makes them so); the latest {late.longest:.1f} s."
    )
    return "\n".join(
        (
            f"- {verdict.confirmed} messages confirmed; {verdict.done} handled; {lost}.",
            f"- {verdict.dead} dead letters; {verdict.left} messages left in other queues.",
            f"- Unconfirmed and yet handled: {verdict.recovered}.",
            f"- Handled or dead-lettered again: {verdict.duplicates} times; the bound is {bound}.",
            came_back,
            f"- Disconnects noticed: {', '.join(f'{count} by {name}' for name, count in sorted(disconnects.items()))}.",
        )
    )


def _table(strikes: Sequence[Strike], withheld: Counter[str]) -> Iterator[str]:
    yield f"| fault | times | {' | '.join(STEPS)} |"
    yield f"|---|---{'|---' * len(STEPS)}|"
    for name in sorted({strike.fault for strike in strikes}):
        those = [strike for strike in strikes if strike.fault == name]
        cells = [_cell([strike.after.get(step) for strike in those]) for step in STEPS]
        yield f"| {name} | {len(those) - withheld[name]} | {' | '.join(cells)} |"


def _cell(seconds: Sequence[float | None]) -> str:
    times = sorted(one for one in seconds if one is not None)
    never = len(seconds) - len(times)
    told = [f"{times[len(times) // 2]:.2f} s, {times[-1]:.2f} s"] if times else []
    return "; ".join((*told, *([f"never: {never}"] if never else [])))


def report(header: str, strikes: Sequence[Strike], withheld: Counter[str], figures: str, problems: list[str]) -> str:
    """Return the result as Markdown. `header`: its title and the beginning of its first sentence."""
    count = len(strikes) - withheld.total()
    statistics = (
        f"No loss in {count} faults bounds the rate of faults that lose something near 3/{count} "
        f"({3 / max(count, 1):.1%}, at 95 % confidence). Each kind of fault was fired only as often as the table "
        f"says, so for one kind alone the bound is that much weaker."
    )
    lines = [f"# {header}, {RATE:g} messages a second.", ""]
    lines += ["Seconds from the end of a fault until work went on: the median, and the longest.", ""]
    lines += [*_table(strikes, withheld), "", figures, ""]
    lines += [f"- PROBLEM: {problem}" for problem in problems] or [statistics]
    return "\n".join(lines) + "\n"


def run(minutes: float, seed: int, nodes: int = 1, only: str = "", without: str = "") -> tuple[str, list[str]]:
    """Run; return the report and what is wrong."""
    with scene(nodes) as on:
        first = on.await_one_more("done")
        if first is None:
            raise SystemExit(f"nothing was handled within {RECOVERY_DEADLINE:.0f} s after the start")
        print(f"seed {seed}; first message after {first:.1f} s", flush=True)
        this = Run(on, seed, only, without)
        this.strike_until(time.monotonic() + minutes * 60)
        figures = this.finish(minutes)
        if this.problems:
            on.print_logs()
        version = on.node.ctl("version").strip()
    title, broker = "Soak report", f"RabbitMQ {version}"
    if nodes > 1:
        title, broker = "Soak report of a cluster", f"{nodes} nodes of {broker}"
    header = f"{minutes:g} minutes, seed {seed}, {broker}, Python {platform.python_version()}"
    header = f"{title}\n\n{datetime.now(UTC):%Y-%m-%d}: {header}"
    return report(header, this.strikes, this.withheld, figures, this.problems), this.problems


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--nodes", type=int, default=1, help="3: a cluster")
    parser.add_argument("--seed", type=int, default=None, help="left out: a new one, which is printed")
    parser.add_argument("--only", default="", help="only faults with this text in their name")
    parser.add_argument("--without", default="", help="no faults with this text in their name")
    parser.add_argument("--report", type=Path, default=None, help="a file to write the report to")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # an end at which the broker is stopped, too
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(1_000_000)
    text, problems = run(arguments.minutes, seed, arguments.nodes, arguments.only, arguments.without)
    print(text)
    if arguments.report is not None:
        arguments.report.write_text(text)
    if problems:
        raise SystemExit(f"the soak has failed: {len(problems)} problems, see above")


if __name__ == "__main__":
    main()
