"""Address: HOST:PORT as it is typed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from taskroute.cli.exits import UsageError
from taskroute.cli.typed import typed


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. An empty host is every address of this machine; port 0 is any that is free."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``HOST:PORT``, ``:PORT`` or ``[IPV6]:PORT``.

        Raises:
            UsageError: it is none of these.
        """
        found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\s:/@\[\]]*)):([0-9]{1,5})", text, re.ASCII)
        if found is None or int(found[3]) > 65_535:
            raise UsageError(f"--health {typed(text)} is not HOST:PORT, for example 127.0.0.1:8080 or :8080")
        return cls(found[1] or found[2] or "", int(found[3]))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"
