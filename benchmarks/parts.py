"""The parts of the benchmark as data: who takes part, and what taskroute is meant to reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Contestant:
    """`run`: module and function under `contestants`. `fill` and `declare`: what it finds on the broker."""

    name: str
    run: str
    options: Mapping[str, object] = field(default_factory=dict)
    fill: bool = False
    declare: bool = False
    share: float = 1.0
    """Of the part's messages, for those that would take minutes."""

    @property
    def environment(self) -> Literal["own", "peers"]:
        """Which virtual environment it runs in."""
        return "own" if self.run.startswith(("taskroute_", "inside:")) else "peers"


@dataclass(frozen=True)
class Target:
    """What `of` is to reach in `metric`: `bound` times what `against` reaches, or `bound` itself."""

    of: str
    bound: float
    against: str | None = None
    metric: str = "rate"
    at_most: bool = False


@dataclass(frozen=True)
class Part:
    """Contestants that take turns, round by round. `broker`: whether they need RabbitMQ."""

    name: str
    title: str
    unit: str
    contestants: tuple[Contestant, ...]
    targets: tuple[Target, ...] = ()
    count: int = 20_000
    least: int = 8
    """Of what `count` counts, however small a share is, and a trial with `--smoke`."""
    rounds: int | None = None
    broker: bool = True
    metric: str = "rate"
    """The one that is drawn."""
    empties: bool = False
    """Whether nothing stays in the queue although it was not filled before."""


LIMIT = Contestant("py-amqp, no_ack, empty callback", "py_amqp:consume_no_ack", fill=True)
WORKER = Contestant("taskroute Worker", "taskroute_client:consume", fill=True)
INLINE = Contestant("taskroute Worker, threads=0", "taskroute_client:consume", {"threads": 0}, fill=True)
ON_MESSAGE = Contestant("kombu on_message, ack each 50", "kombu_client:consume_on_message", fill=True)
CALLBACKS = Contestant("kombu callbacks", "kombu_client:consume_callbacks", fill=True)
PIKA = Contestant("pika", "pika_client:consume", fill=True)
AIO_PIKA = Contestant("aio-pika", "aio_pika_client:consume", fill=True)
FASTSTREAM = Contestant("FastStream", "faststream_client:consume", fill=True)
MIXIN = Contestant("kombu ConsumerMixin, prefetch 1", "kombu_client:consume_mixin", fill=True, share=0.5)
DRAMATIQ = Contestant("dramatiq, 8 threads", "dramatiq_client:consume", share=0.5)
CELERY = Contestant("celery, 8 threads", "celery_client:consume", share=0.5)

CONSUME = Part(
    "consume",
    "Consume: no-op handler, classic queue",
    "messages/s",
    (LIMIT, WORKER, INLINE, ON_MESSAGE, CALLBACKS, PIKA, AIO_PIKA, FASTSTREAM, MIXIN, DRAMATIQ, CELERY),
    (
        Target(WORKER.name, 0.85, LIMIT.name),
        Target(INLINE.name, 0.85, LIMIT.name),
        Target(WORKER.name, 1.7, CALLBACKS.name),
        Target(WORKER.name, 2.5, AIO_PIKA.name),
        Target(WORKER.name, 4, FASTSTREAM.name),
        Target(WORKER.name, 5, DRAMATIQ.name),
        Target(WORKER.name, 5, CELERY.name),
    ),
)

SLOW = {"slow_every": 100}
MANY_SLOW = Contestant("taskroute Worker, 1 % take 50 ms", WORKER.run, SLOW, fill=True)
MORE_THREADS = Contestant("taskroute Worker, 32 threads", WORKER.run, {"threads": 32}, fill=True)
MORE_SLOW = Contestant("taskroute Worker, 32 threads, 1 % take 50 ms", WORKER.run, {**SLOW, "threads": 32}, fill=True)

CONSUME_SLOW = Part(
    "consume-slow",
    "Consume: one handler in a hundred takes 50 ms",
    "messages/s",
    (WORKER, MANY_SLOW, MORE_THREADS, MORE_SLOW),
    (Target(MANY_SLOW.name, 0.8, WORKER.name), Target(MORE_SLOW.name, 0.8, MORE_THREADS.name)),
)

QUORUM = {"queue_type": "quorum"}
QUORUM_LIMIT = Contestant(f"{LIMIT.name}, quorum", LIMIT.run, QUORUM, fill=True)
QUORUM_WORKER = Contestant(f"{WORKER.name}, quorum", WORKER.run, QUORUM, fill=True)

CONSUME_QUORUM = Part(
    "consume-quorum",
    "Consume: no-op handler, quorum queue",
    "messages/s",
    (QUORUM_LIMIT, QUORUM_WORKER),
)

FOUR_QUEUES = Contestant("taskroute Worker, four queues", "taskroute_client:consume_waiting", {"queues": 4}, fill=True)
LOCAL_QUEUE = Contestant("eight threads on a queue in the process", "taskroute_client:local_queue_waiting")

CONSUME_WAITING = Part(
    "consume-waiting",
    "Consume: handlers that wait 5 ms, eight threads",
    "messages/s",
    (LOCAL_QUEUE, FOUR_QUEUES),
    (Target(FOUR_QUEUES.name, 0.95, LOCAL_QUEUE.name), Target(FOUR_QUEUES.name, 0.9, metric="share")),
    count=4_000,
)

PUBLISH_MANY = Contestant("taskroute publish_many, confirmed", "taskroute_client:publish_many", declare=True)
KOMBU_UNCONFIRMED = Contestant("kombu, bytes, unconfirmed", "kombu_client:publish_unconfirmed", declare=True)
KOMBU_CONFIRMED = Contestant("kombu confirm_publish", "kombu_client:publish_confirmed", declare=True, share=0.15)
FASTSTREAM_CONFIRMED = Contestant(
    "FastStream, confirmed, 500 in flight", "faststream_client:publish_confirmed", declare=True, share=0.5
)

PUBLISH = Part(
    "publish",
    "Publish: many messages",
    "messages/s",
    (
        KOMBU_UNCONFIRMED,
        PUBLISH_MANY,
        Contestant("pika, unconfirmed", "pika_client:publish_unconfirmed", declare=True),
        Contestant("FastStream, unconfirmed", "faststream_client:publish_unconfirmed", declare=True, share=0.5),
        FASTSTREAM_CONFIRMED,
        KOMBU_CONFIRMED,
        Contestant("pika confirm_delivery", "pika_client:publish_confirmed", declare=True, share=0.15),
    ),
    (
        Target(PUBLISH_MANY.name, 0.6, KOMBU_UNCONFIRMED.name),
        Target(PUBLISH_MANY.name, 8, KOMBU_CONFIRMED.name),
        Target(PUBLISH_MANY.name, 2.5, FASTSTREAM_CONFIRMED.name),
    ),
)

ONE = Contestant("taskroute publish, 1 thread", "taskroute_client:publish_one_by_one", declare=True)
SIXTEEN = Contestant("taskroute publish, 16 threads", ONE.run, {"threads": 16}, declare=True)
KOMBU_ONE = Contestant(KOMBU_CONFIRMED.name, KOMBU_CONFIRMED.run, declare=True)

PUBLISH_ONE = Part(
    "publish-one",
    "Publish: each call waits for its confirm",
    "messages/s",
    (KOMBU_ONE, ONE, SIXTEEN),
    (Target(ONE.name, 0.9, KOMBU_ONE.name), Target(SIXTEEN.name, 4, KOMBU_ONE.name)),
    count=4_000,
)

LATENCY_KOMBU = Contestant("kombu consumer in a thread", "inside:latency_kombu", declare=True)
LATENCY_WORKER = Contestant("taskroute Worker", "inside:latency_worker", declare=True)

LATENCY = Part(
    "latency",
    "Latency: publish to handler at 200 messages a second",
    "ms",
    (LATENCY_KOMBU, LATENCY_WORKER),
    (
        Target(LATENCY_WORKER.name, 1.2, LATENCY_KOMBU.name, metric="p50", at_most=True),
        Target(LATENCY_WORKER.name, 1.2, LATENCY_KOMBU.name, metric="p99", at_most=True),
    ),
    count=1_000,
    metric="p50",
    empties=True,
)

EMBEDDED_BROKER = Contestant("taskroute embedded", "inside:embedded")
MEMORY = Contestant("kombu memory", "inside:kombu_memory")

EMBEDDED = Part(
    "embedded",
    "In the process: one binding, publish and consume",
    "messages/s",
    (MEMORY, EMBEDDED_BROKER),
    (Target(EMBEDDED_BROKER.name, 1, MEMORY.name),),
    broker=False,
)

BINDINGS = {"bindings": 1_000}
EMBEDDED_MANY = Contestant("taskroute embedded, 1,000 bindings", EMBEDDED_BROKER.run, BINDINGS)
MEMORY_MANY = Contestant("kombu memory, 1,000 bindings", MEMORY.run, BINDINGS)

EMBEDDED_BINDINGS = Part(
    "embedded-bindings",
    "In the process: 1,000 bindings, publish",
    "messages/s",
    (MEMORY_MANY, EMBEDDED_MANY),
    (Target(EMBEDDED_MANY.name, 20, MEMORY_MANY.name, metric="publish"),),
    broker=False,
    metric="publish",
    count=5_000,
)

WAKE_UP = Contestant("taskroute embedded, idle", "inside:wake_up")

EMBEDDED_WAKE_UP = Part(
    "embedded-wake-up",
    "In the process: from publish to handler when idle",
    "ms",
    (WAKE_UP,),
    (Target(WAKE_UP.name, 1, metric="p50", at_most=True),),
    broker=False,
    metric="p50",
    count=200,
)

FEW = Contestant("10 patterns", "inside:resolve", {"patterns": 10})
MANY = Contestant("10,000 patterns", "inside:resolve", {"patterns": 10_000})

RESOLVE = Part(
    "resolve",
    "Resolve a routing key",
    "us",
    (FEW, MANY),
    (
        Target(MANY.name, 3, FEW.name, metric="uncached", at_most=True),
        Target(MANY.name, 1, metric="cached", at_most=True),
    ),
    broker=False,
    metric="uncached",
)

CHECK_ONCE = Contestant("1,000 queues and handlers", "inside:check")
CHECK_TWICE = Contestant("2,000 queues and handlers", CHECK_ONCE.run, share=2)
CHECK_HARD = Contestant("made to be hard: 1,000 queues and handlers", "inside:check_adversarial")

CHECK = Part(
    "check",
    "check() of a topology and its handlers",
    "s",
    (CHECK_ONCE, CHECK_TWICE, CHECK_HARD),
    (
        Target(CHECK_ONCE.name, 5, metric="seconds", at_most=True),
        Target(CHECK_TWICE.name, 2.5, CHECK_ONCE.name, metric="seconds", at_most=True),
    ),
    count=1_000,
    broker=False,
    metric="seconds",
)

FEW_QUEUES = Contestant("taskroute, 100 queues", "taskroute_graph:large", {"queues": 100})
MANY_QUEUES = Contestant("taskroute, 10,000 queues", FEW_QUEUES.run, {"queues": 10_000})

LARGE = Part(
    "large",
    "10,000 bindings: the graph's pictures and its contract",
    "s",
    (FEW_QUEUES, MANY_QUEUES),
    (
        Target(FEW_QUEUES.name, 10, metric="svg", at_most=True),
        Target(FEW_QUEUES.name, 10, metric="html", at_most=True),
        Target(FEW_QUEUES.name, 10, metric="changed", at_most=True),
    ),
    count=10_000,
    rounds=3,
    broker=False,
    metric="html",
)

DISTINCT = Contestant("taskroute Worker", "inside:distinct_keys", {"distinct_keys": True}, fill=True)

DISTINCT_KEYS = Part(
    "distinct-keys",
    "Memory: a million routing keys through one worker",
    "MB",
    (DISTINCT,),
    (Target(DISTINCT.name, 20, metric="gained", at_most=True),),
    count=1_000_000,
    rounds=1,
    metric="gained",
)

IMPORT_TASKROUTE = Contestant("import taskroute", "inside:import_seconds", {"modules": "taskroute"})
IMPORT_OTHERS = Contestant(
    "import kombu, its amqp transport, pydantic",
    IMPORT_TASKROUTE.run,
    {"modules": "kombu, kombu.transport.pyamqp, pydantic; pydantic.BaseModel, kombu.Connection"},
)

IMPORT = Part(
    "import",
    "Import",
    "s",
    (IMPORT_OTHERS, IMPORT_TASKROUTE),
    (Target(IMPORT_TASKROUTE.name, 1.25, IMPORT_OTHERS.name, metric="seconds", at_most=True),),
    count=5,
    least=1,
    broker=False,
    metric="seconds",
)

IDLE_KOMBU = Contestant("kombu consumer in a thread, pydantic imported", "inside:idle_kombu", declare=True)
IDLE_WORKER = Contestant("taskroute Worker", "inside:idle_worker", declare=True)

IDLE = Part(
    "idle",
    "Idle: share of a core, and memory",
    "% of a core",
    (IDLE_KOMBU, IDLE_WORKER),
    (
        Target(IDLE_WORKER.name, 0.5, metric="cpu", at_most=True),
        Target(IDLE_WORKER.name, 1.15, IDLE_KOMBU.name, metric="rss", at_most=True),
    ),
    count=10,
    least=1,
    metric="cpu",
    empties=True,
)

PARTS = (
    CONSUME,
    CONSUME_SLOW,
    CONSUME_QUORUM,
    CONSUME_WAITING,
    PUBLISH,
    PUBLISH_ONE,
    LATENCY,
    EMBEDDED,
    EMBEDDED_BINDINGS,
    EMBEDDED_WAKE_UP,
    RESOLVE,
    CHECK,
    LARGE,
    DISTINCT_KEYS,
    IMPORT,
    IDLE,
)
