"""What patterns and headers exchanges take: rules that each implementation of them is held to."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

MOMENT, SECONDS = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), 1_767_323_045

HEADER_RULES: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
    ({"x-match": "all"}, {}, True),
    ({}, {"anything": "goes"}, True),
    ({"x-match": "any"}, {"anything": "goes"}, False),
    ({"x-match": "all", "a": "1", "b": "2"}, {"a": "1"}, False),
    ({"x-match": "all", "a": "1", "b": "2"}, {"a": "1", "b": "2", "c": "3"}, True),
    ({"x-match": "any", "a": "1", "b": "2"}, {"b": "2"}, True),
    ({"x-match": "any", "a": "1", "b": "2"}, {"b": "1"}, False),
    ({"a": "1"}, {"a": 1}, False),
    ({"a": True}, {"a": 1}, False),
    ({"a": 1}, {"a": True}, False),
    ({"a": True}, {"a": True}, True),
    ({"a": 1}, {"a": 1}, True),
    ({"a": 0}, {"a": False}, False),
    ({"a": None}, {"a": "there"}, True),
    ({"a": None}, {}, False),
    ({"a": 2**40}, {"a": 2**40}, True),
    ({"a": []}, {"a": {}}, True),
    ({"a": {}}, {"a": []}, True),
    ({"a": []}, {"a": ""}, False),
    ({"a": [1]}, {"a": {"1": 1}}, False),
    ({"a": [[]]}, {"a": [{}]}, False),
    ({"a": [1, "x", {"n": None}]}, {"a": [1, "x", {"n": None}]}, True),
    ({"a": [1]}, {"a": [True]}, False),
    ({"a": [1]}, {"a": [1.0]}, False),
    ({"a": [1]}, {"a": [None]}, False),
    ({"a": {"m": 1, "n": 2}}, {"a": {"n": 2, "m": 1}}, False),
    ({"a": "x"}, {"a": b"x"}, True),
    ({"a": MOMENT}, {"a": SECONDS}, True),
    ({"a": MOMENT}, {"a": "text"}, False),
    ({"a": [MOMENT]}, {"a": [SECONDS]}, False),
    ({"a": Decimal("1.5")}, {"a": Decimal("1.5")}, True),
    ({"a": Decimal("1.5")}, {"a": Decimal("1.50")}, False),
    ({"a": Decimal("1.5")}, {"a": 1.5}, False),
    ({"a": Decimal(1)}, {"a": 1}, False),
    ({"x-a": "1"}, {}, True),
    ({"x-match": "all", "x-a": "1"}, {"x-a": "2"}, True),
    ({"x-match": "any", "x-a": "1"}, {"x-a": "1"}, False),
    ({"x-match": "all-with-x", "x-a": "1"}, {"x-a": "2"}, False),
    ({"x-match": "all-with-x", "x-a": "1"}, {"x-a": "1"}, True),
    ({"x-match": "any-with-x", "x-a": "1", "b": "2"}, {"x-a": "1"}, True),
    ({"x-match": "any-with-x"}, {}, False),
    ({"x-match": "all-with-x"}, {}, True),
]
"""A binding's arguments, the headers of a message, and whether they match."""

PATTERN_EXAMPLES: list[tuple[str, list[str], list[str]]] = [
    ("video.*", ["video.upload", "video."], ["video", "video.a.b", "audio.a", ""]),
    ("video.#", ["video", "video.a.b", "video.."], ["", "audio", "videos"]),
    ("#", ["", "a", "..", "a.b.c"], []),
    ("*", ["a", "*"], ["", "a.b"]),
    ("", [""], ["a", "."]),
    ("a..b", ["a..b"], ["a.b", "a.x.b"]),
    ("#.b.#", ["b", "a.b", "b.a", "a.b.c"], ["a", ""]),
    ("naïve.*", ["naïve.é"], ["naive.e"]),
]
"""A pattern, keys that it takes, and keys that it does not take."""
