"""Settings: what a process is to run, handed from the parent to its children."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the command line said of a process.

    `processes` is how many share the work, `number` which of them this is; one that is alone has none. `watched`:
    somebody looks at its progress. `measured`: somebody may ask for its metrics.
    """

    target: str
    factory: bool = False
    app_dir: str = "."
    queues: tuple[str, ...] = ()
    threads: int | None = None
    max_messages: int | None = None
    processes: int = 1
    number: int | None = None
    watched: bool = False
    measured: bool = False

    def as_json(self) -> str:
        """Return them as one word of a command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read them back."""
        fields = json.loads(text)
        return cls(**fields | {"queues": tuple(fields["queues"])})
