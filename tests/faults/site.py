"""A virtual host on a broker that tests may break, and the URLs that lead to it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field

import pika
from tests.faults.proxy import Proxy
from tests.kit import rabbitmq as server
from tests.kit.ports import KeptPort
from tests.kit.waiting import until

SECRET = "canary-5f1c9b"
"""The password of every user in these tests. It may not be seen anywhere."""


@dataclass
class Site:
    """A virtual host on a broker, and a proxy on the way to it if a test asks for one."""

    node: server.Node
    name: str
    proxies: list[Proxy] = field(default_factory=list)
    deserted: list[KeptPort] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Return the URL of a user with every right."""
        return self.node.url(self.name, user=f"app:{SECRET}")

    @property
    def limited_url(self) -> str:
        """Return the URL of a user who may write and read, and not configure."""
        return self.node.url(self.name, user=f"limited:{SECRET}")

    @property
    def read_only_url(self) -> str:
        """Return the URL of a user who may only read."""
        return self.node.url(self.name, user=f"reader:{SECRET}")

    @property
    def narrow_url(self) -> str:
        """Return the URL of a user with the rights that handling `work` and `other` needs, and no others."""
        return self.node.url(self.name, user=f"narrow:{SECRET}")

    @property
    def version(self) -> tuple[int, ...]:
        """Return the broker's version."""
        return tuple(map(int, self.node.eval("io:format(rabbit_misc:version()).").split("ok")[0].strip().split(".")))

    def proxy(self) -> Proxy:
        """Start a proxy to the broker; it ends with the test."""
        proxy = Proxy(self.node.port)
        self.proxies.append(proxy)
        return proxy

    def url_by(self, proxy: Proxy) -> str:
        """Return the URL that leads through a proxy."""
        return self.node.url(self.name, user=f"app:{SECRET}", port=proxy.port)

    @property
    def deserted_url(self) -> str:
        """Return the URL of a port where nothing listens."""
        port = KeptPort()
        self.deserted.append(port)
        return self.node.url(self.name, user=f"app:{SECRET}", port=port.number)

    def ctl(self, *arguments: str) -> str:
        """Run rabbitmqctl on this virtual host."""
        return self.node.ctl(arguments[0], "-p", self.name, *arguments[1:])

    def table(self, *arguments: str) -> list[list[str]]:
        """Return the output of a `list_...` command as rows of words."""
        return [line.split("\t") for line in self.ctl(*arguments, "--no-table-headers").splitlines()]

    def depths(self, *queues: str) -> list[int]:
        """Return how many messages are ready, asked of the queues: the answer of `list_queues` may be 5 s old."""
        with closing(pika.BlockingConnection(pika.URLParameters(self.url))) as connection:
            channel = connection.channel()
            return [channel.queue_declare(queue, passive=True).method.message_count for queue in queues]

    def wait_ready(self, queue: str, count: int) -> None:
        """Wait until so many messages are ready. What a client had is, some time after it is gone."""
        until(lambda: self.depths(queue) == [count])

    def wait_unconsumed(self) -> None:
        """Wait until the broker has noticed that every consumer is gone, and so has requeued what they had.

        It has not, of a consumer that was cancelled before: what that had is ready when its channel is gone as well.
        """
        self.node.eval(
            f'Wait = fun W() -> case rabbit_amqqueue:consumers_all(<<"{self.name}">>) of '
            "[] -> ok; _ -> timer:sleep(5), W() end end, Wait()."
        )

    def queue_pid(self, queue: str) -> str:
        """Return the Erlang that binds Q to a queue of this virtual host."""
        return f'{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"{self.name}">>, queue, <<"{queue}">>))'
