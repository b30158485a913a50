"""Settings: what a process is to run, handed from the parent to its children."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from typing import Self

from taskroute.service.url import VARIABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the command line said of a process.

    `url` is that of --url. A child has it in its environment, as everybody may see the arguments of a process.
    `processes` is how many share the work, `number` which of them this is; one that is alone has none. `watched`:
    somebody looks at its progress. `measured`: somebody may ask for its metrics.
    """

    target: str
    factory: bool = False
    app_dir: str = "."
    url: str | None = field(default=None, repr=False)
    queues: tuple[str, ...] = ()
    threads: int | None = None
    max_messages: int | None = None
    processes: int = 1
    number: int | None = None
    watched: bool = False
    measured: bool = False

    def as_json(self) -> str:
        """Return them as one word of a command line, for a process with `environment`."""
        return json.dumps(asdict(self) | {"url": self.url is not None})

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a process that is to read them back."""
        return {**os.environ} if self.url is None else {**os.environ, VARIABLE: self.url}

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read them back, in a process with their `environment`."""
        fields = json.loads(text)
        url = os.environ[VARIABLE] if fields["url"] else None
        return cls(**fields | {"url": url, "queues": tuple(fields["queues"])})
