"""A namespace of processes, in which a command is process 1, as in a container."""

from __future__ import annotations

import shutil
import subprocess

UNSHARE = ("unshare", "--pid", "--fork", "--kill-child")


def may_unshare() -> bool:
    """Return whether such a namespace can be made: on Linux, with the right to it."""
    return bool(shutil.which(UNSHARE[0])) and subprocess.run([*UNSHARE, "true"], check=False).returncode == 0
