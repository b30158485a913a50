"""Fuzz: random sequences of operations on the embedded broker and on a RabbitMQ, compared after each operation.

    scripts/fuzz [--seed N] [--first N] [--sequences N] [--seconds N] [--rabbitmq FOLDER] [--only N]

Seed and number make a sequence; `--first` begins with another one than 0, `--only` repeats one. A sequence ends at its
first difference, which is shrunk and shown. FOLDER holds another system with its RabbitMQ, as for RABBITMQ_ROOT. The
run fails if a difference is found that `tests/fuzz/known.py` does not name.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import time
from contextlib import suppress


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="of the run")
    parser.add_argument("--first", metavar="N", type=int, default=0, help="the number to begin with")
    parser.add_argument("--sequences", type=int, default=200, help="how many")
    parser.add_argument("--seconds", type=float, help="begin no other one after so many")
    parser.add_argument("--only", metavar="N", type=int, help="the sequence of this number")
    parser.add_argument("--rabbitmq", metavar="FOLDER", help="a folder with another system in it")
    options = parser.parse_args()
    if options.rabbitmq:
        os.environ["RABBITMQ_ROOT"] = options.rabbitmq  # before the module is loaded that reads it
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # an end at which the broker is stopped, too
    logging.getLogger("amqp").setLevel(logging.ERROR)
    return fuzz(options)


def fuzz(options: argparse.Namespace) -> int:
    """Run, and print what is found as it is found."""
    from tests.fuzz.brokers import rabbitmq_client, rules_of
    from tests.fuzz.campaign import Campaign

    last = options.first + options.sequences
    numbers = range(options.first, last) if options.only is None else [options.only]
    began, differences = time.monotonic(), 0
    with rabbitmq_client() as (release, client):
        print(f"RabbitMQ {release}, seed {options.seed}", flush=True)
        campaign = Campaign(rules_of(release), client)
        with suppress(KeyboardInterrupt):
            for number in numbers:
                if options.seconds is not None and time.monotonic() - began > options.seconds:
                    break
                difference = campaign.run(options.seed, number)
                if difference is not None:
                    print(f"\nsequence {number} differs after {len(difference.done)} operations", flush=True)
                    small = campaign.shrink(difference)
                    differences += small is not None
                    print(small or f"and then not again:\n{difference}", flush=True)
    for ending, count in campaign.tally.most_common():
        print(f"{count:6} {ending}")
    total = campaign.tally.total()
    print(f"{total} sequences in {time.monotonic() - began:.0f} s, {differences} undocumented differences")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
