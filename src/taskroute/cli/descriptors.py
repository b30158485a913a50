"""Descriptors: the standard ones, which whoever starts a program may have closed."""

from __future__ import annotations

import os
from typing import Final

_LAST: Final = 2


def open_standard_descriptors() -> None:
    """Have stdin, stdout and stderr lead nowhere where they are closed, in this process and in those that it starts.

    What is opened next would have their number otherwise, and be written to as if it were stderr.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _LAST:
        pass
    os.close(descriptor)
    for standard in range(_LAST + 1):
        os.set_inheritable(standard, True)
