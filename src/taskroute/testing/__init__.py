"""Testing: run handlers in a test as a worker runs them, without a server and without waiting.

The names here are public, like those of `taskroute`.
"""

from taskroute.testing.calls import Call
from taskroute.testing.harness import Harness

__all__ = ["Call", "Harness"]
