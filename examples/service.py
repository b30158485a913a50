"""A service as it is deployed: settings from the environment, a log, probes over HTTP, an end by signal.

AMQP_URL names the broker, DECLARE is create or verify, PROBE_PORT is where /live and /ready answer.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from taskroute import ExchangeSpec, HandlerRegistry, QueueSpec, Topology, Worker

log = logging.getLogger("shop")

shop = ExchangeSpec(name="shop")
orders = QueueSpec(name="orders", bindings=[shop.bind("order.#")])
topology = Topology(exchanges=[shop], queues=[orders])
registry = HandlerRegistry()


@registry.handler("order.{number}.paid", queue=orders, timeout=30)
def on_paid(order: dict[str, Any], number: int) -> None:
    """Pack the goods."""
    log.info("order %d: pack %s", number, order.get("goods"))


@registry.fallback(queue=orders)
def ignored() -> None:
    """What else happens to orders does not concern this service."""


def serve_probes(worker: Worker, port: int) -> None:
    """Answer GET /live and /ready from a thread of its own: 200 if it is so, 503 with the reasons if not."""

    class Probe(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            health = worker.health()
            fine = {"/live": health.live, "/ready": health.ready}.get(self.path, False)
            self.send_response_only(200 if fine else 503)  # without a line in the log for each probe
            self.end_headers()
            self.wfile.write(json.dumps(asdict(health)).encode())

    server = ThreadingHTTPServer(("", port), Probe)
    threading.Thread(target=server.serve_forever, name="probes", daemon=True).start()


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    worker = Worker(
        os.environ["AMQP_URL"],
        topology,
        registry,
        declare="verify" if os.environ.get("DECLARE") == "verify" else "create",
        name="shop-orders",
        shutdown_timeout=20,
    )
    serve_probes(worker, int(os.environ.get("PROBE_PORT", "8080")))
    worker.run()


if __name__ == "__main__":
    main()
