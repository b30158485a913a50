"""Undecoded: what a sender wrote and nothing here can read, kept byte for byte, to be republished as it came."""

# No `from __future__ import annotations`: type hints of what is public must resolve from `taskroute`, too.

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class UndecodedValue:
    """A header's value that cannot be decoded, for example a time beyond the year 9999.

    Attributes:
        kind: AMQP's letter for its type.
        encoded: what follows the letter.
    """

    kind: bytes
    encoded: bytes = field(repr=False)


class UndecodedText(str):
    """A text that is not UTF-8, shown with its bytes escaped. It encodes itself as the bytes that it was made of."""

    __slots__ = ("encoded",)

    encoded: bytes

    @classmethod
    def of(cls, encoded: bytes) -> "UndecodedText":
        """Return the text of these bytes."""
        text = cls(encoded.decode(errors="backslashreplace"))
        text.encoded = encoded
        return text

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:  # noqa: ARG002 - it has its bytes
        """Return the bytes that it was made of."""
        return self.encoded
