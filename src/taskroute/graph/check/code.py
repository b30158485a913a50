"""Code: what kinds of holes a graph can have. Loads nothing, as help lists them."""

from typing import Literal

Code = Literal[
    "unfed_handler",
    "unhandled_key",
    "ambiguous_handlers",
    "shadowed_handler",
    "handled_twice",
    "dead_end_exchange",
    "unconsumed_queue",
    "missing_dead_letter_queue",
    "dead_letter_cycle",
    "event_unrouted",
    "event_unhandled",
    "event_body",
    "unused_answer",
    "refused_by_broker",
    "denied_by_broker",
    "ignored_by_broker",
    "undecided",
]
