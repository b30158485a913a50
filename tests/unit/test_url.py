"""Broker URLs: what they name, what is refused, and that no text shows a password."""

from __future__ import annotations

import ssl
import traceback
from typing import Any

import pytest

from taskroute import (
    BrokerUnavailableError,
    BrokerUrlError,
    ConfigurationError,
    HandlerRegistry,
    Publisher,
    QueueSpec,
    Topology,
    Worker,
)
from taskroute.broker.link import describe_error
from taskroute.broker.url import BrokerUrl, Nodes, parse_urls
from taskroute.service.parts import Wiring


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("memory://", "memory://default"),
        ("memory://name", "memory://name"),
        ("memory://name?rabbitmq=4.0", "memory://name?rabbitmq=4.0"),
        ("amqp://u:p@h/", "amqp://u@h:5672/"),
        ("amqp://u:p@h", "amqp://u@h:5672/"),
        ("amqp://u:p%40ss@h:1/v%2Fhost", "amqp://u@h:1/v%2Fhost"),
        ("amqps://u:p@h/v", "amqps://u@h:5671/v"),
        ("amqp://u:p@[::1]:7/v", "amqp://u@[::1]:7/v"),
    ],
)
def test_url_names_scheme_user_host_port_and_virtual_host(url: str, shown: str) -> None:
    (parsed,) = parse_urls(url)

    assert str(parsed) == shown
    assert (parsed.tls is not None) == url.startswith("amqps")


def test_user_password_and_virtual_host_are_decoded() -> None:
    (parsed,) = parse_urls("amqp://u%3A:p%40ss@h/a%2Fb")

    assert (parsed.user, parsed.password, parsed.virtual_host) == ("u:", "p@ss", "a/b")


@pytest.mark.parametrize(
    ("user", "host", "virtual_host"),
    [
        ("u", "h", "/"),
        ("u", "h", "shop"),
        ("u", "h", "/shop"),
        ("u", "h", "//"),
        ("u:@/", "h", "a#b c?%2F"),
        ("ü", "127.0.0.1", "größe"),
        ("u", "::1", "v"),
        ("u", "fe80::1%eth0", "v"),
    ],
)
def test_shown_url_with_its_password_names_the_same_node(user: str, host: str, virtual_host: str) -> None:
    """A URL in a log line can be pasted back."""
    url = BrokerUrl("amqp", host, 7, user, "p", virtual_host)

    shown = str(url)

    assert parse_urls(shown.replace("@", ":p@", 1)) == (url,)


def test_urls_of_a_function_are_asked_for_each_time() -> None:
    passwords = iter(["one", "two"])
    nodes = Nodes(lambda: f"amqp://u:{next(passwords)}@h/")

    assert [nodes.ask()[0].password for _ in range(2)] == ["one", "two"]


def _raise_secret() -> str:
    raise RuntimeError("s3cret")


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (_raise_secret, "raised RuntimeError"),
        (lambda: "amqp://u:s3cret@h/?a=1", "cannot be used: the amqp URL has a query"),
        (lambda: 7, "returned int"),
        (list, "cannot be used: no broker URL"),
    ],
)
def test_function_without_a_url_is_named_without_its_secret(source: Any, problem: str) -> None:
    with pytest.raises(BrokerUnavailableError, match=problem) as caught:
        Nodes(source).ask()

    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_several_urls_are_several_nodes() -> None:
    assert [str(url) for url in parse_urls(["amqp://u:p@a/", "amqp://u:p@b/"])] == [
        "amqp://u@a:5672/",
        "amqp://u@b:5672/",
    ]


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis://host", "not 'redis'$"),
        ("http://host", "'http'$"),
        (None, "no broker URL"),
        ("", "amqp://"),
        ("host", "amqp://"),
        ([], "no broker URL"),
        ("amqp://h/", "user and password"),
        ("amqp://u@h/", "user and password"),
        ("amqp://u:s3cret@/", "host"),
        ("amqp://u:s3cret@h/?heartbeat=1", "query"),
        ("amqp://u:s3/cret@h/", "percent-encode"),
        ("memory://u:s3cret@name", "name"),
        ("memory://name/path", "name"),
        ("memory://name?a=1", "one option, rabbitmq"),
        ("memory://name?rabbitmq=2.8", "one of 3.10, 3.13, 4.0, 4.3"),
        ("memory://name?rabbitmq=4.0&a=1", "one option"),
        ("memory://name#4.0", "one option"),
    ],
)
def test_unusable_url_is_refused_without_showing_its_password(url: Any, problem: str) -> None:
    with pytest.raises(BrokerUrlError, match=problem) as caught:
        parse_urls(url)

    assert "s3" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "shop:s3cret@host",
        "amqp//shop:s3cret@h/",
        "amqp:/shop:s3cret@h",
        "amqp:shop:s3cret@h",
        "//shop:s3cret@h",
        "://shop:s3cret@h",
        "s3cret@h://x",
        "shop:s3cret://x",
        "'amqp://shop:s3cret@h/'",
        "amqp://shop:s3cret@h1,amqp://shop:s3cret@h2",
        "amqp://shop:s3cret@h1:5672;amqp://shop:s3cret@h2:5672",
        "amqp://shop:s3cret@h1/;amqp://shop:s3cret@h2/",
        "amqp://shop:s3cret@h1:5672,h2:5672/",
        "amqp://shop:p@ss/s3cret@host/",
        "amqp://shop:p@ss/s3cret@h1,h2/",
        "amqp://shop/s3cret@host/",
    ],
)
def test_password_of_what_is_no_url_is_not_repeated(url: str) -> None:
    with pytest.raises(BrokerUrlError) as caught:
        parse_urls(url)

    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("quote", ["'", '"'])
def test_url_in_quotes_is_told_to_leave_them_out(quote: str) -> None:
    """A file for the environment of a container keeps them."""
    with pytest.raises(BrokerUrlError, match="begins with a quotation mark: leave the quotes out"):
        parse_urls(f"{quote}amqp://u:p@h/{quote}")


@pytest.mark.parametrize("urls", ["amqp://u:p@a,amqp://u:p@b", "amqp://u:p@a:1;amqp://u:p@b:1", "amqp://u:p@a,b:1/"])
def test_several_nodes_in_one_url_are_told_to_be_a_list(urls: str) -> None:
    with pytest.raises(BrokerUrlError, match="several nodes are a list, or in TASKROUTE_URL separated by spaces"):
        parse_urls(urls)


def test_comma_and_semicolon_of_a_password_and_a_virtual_host_are_theirs() -> None:
    (parsed,) = parse_urls("amqp://u:a,b;c@h/v,1;2")

    assert (parsed.password, parsed.host, parsed.virtual_host) == ("a,b;c", "h", "v,1;2")


def test_tls_is_verified_and_only_for_amqps() -> None:
    (parsed,) = parse_urls("amqps://u:p@h/")

    assert parsed.tls is not None
    assert parsed.tls.check_hostname
    assert parsed.tls.verify_mode is ssl.CERT_REQUIRED

    with pytest.raises(BrokerUrlError, match="amqps"):
        parse_urls("amqp://u:p@h/", ssl.create_default_context())


def test_repr_and_text_of_url_show_no_password() -> None:
    (parsed,) = parse_urls("amqp://u:s3cret@h/")

    assert "s3cret" not in repr(parsed) + str(parsed)


jobs = QueueSpec(name="jobs")
topology = Topology(queues=[jobs])


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"threads": -1}, "threads"),
        ({"prefetch": 0}, "prefetch"),
        ({"prefetch": 70_000}, "prefetch"),
        ({"shutdown_timeout": -1}, "shutdown_timeout"),
        ({"heartbeat": "often"}, "heartbeat"),
        ({"declare": "maybe"}, "declare"),
        ({"max_body_size": -1}, "max_body_size"),
    ],
)
def test_worker_refuses_invalid_arguments_in_its_constructor(options: dict[str, object], problem: str) -> None:
    registry = HandlerRegistry()
    registry.add("#", lambda body: None, queue=jobs)

    with pytest.raises(ConfigurationError, match=problem):
        Worker("memory://", topology, registry, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "problem"),
    [({"max_in_flight": 0}, "max_in_flight"), ({"timeout": 0}, "timeout"), ({"declare": "maybe"}, "declare")],
)
def test_publisher_refuses_invalid_arguments_in_its_constructor(options: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        Publisher("memory://", topology, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("amqp://u:p@localhost/", False),
        ("amqp://u:p@127.0.0.1/", False),
        ("amqp://u:p@broker.example/", True),
        ("amqps://u:p@broker.example/", False),
        ("memory://", False),
    ],
)
def test_url_without_tls_to_another_machine_has_a_warning(url: str, warned: bool) -> None:
    """Its password would travel in the clear."""
    assert (parse_urls(url)[0].warning is not None) == warned


@pytest.mark.parametrize("urls", [["amqp://u:s3cret@h/", "memory://name"], ["memory://a", "memory://b"]])
def test_embedded_broker_among_several_urls_is_refused(urls: list[str]) -> None:
    with pytest.raises(
        BrokerUrlError, match="memory:// is a broker by itself: give one URL, or only amqp:// ones"
    ) as caught:
        parse_urls(urls)

    assert "s3" not in str(caught.value)
    assert len(parse_urls(["memory://name"])) == 1


@pytest.mark.parametrize("password", ["c#s3", "c?s3", "b@c#s3", "b@c?s3"])
def test_delimiter_in_password_is_refused_with_advice_to_encode_it(password: str) -> None:
    """A raw '#' or '?' would end the password too early."""
    with pytest.raises(BrokerUrlError, match="percent-encode") as caught:
        parse_urls(f"amqp://a:{password}@localhost//")

    assert "s3" not in str(caught.value)


@pytest.mark.parametrize("url", ["amqp://u:p@localhost:port/", "amqp://u:p@localhost:99999/", "amqp://u:p@[::1]:-1/"])
def test_port_that_is_not_a_number_up_to_65535_is_refused(url: str) -> None:
    with pytest.raises(BrokerUrlError, match="its port is no number up to 65535"):
        parse_urls(url)


def test_invalid_port_is_not_shown_as_it_may_be_a_password() -> None:
    """After a raw '@' or '/' a piece of the password stands where the port belongs."""
    with pytest.raises(BrokerUrlError, match=r"its port .* percent-encode") as caught:
        parse_urls("amqp://u:p@s3:cret/@localhost/")

    assert "cret" not in str(caught.value)


@pytest.mark.parametrize("before", [0, 287, 288])
def test_error_that_is_cut_within_a_url_shows_no_password(before: int) -> None:
    described = describe_error(OSError(f"{'.' * before}amqp://u:secret@host/"))

    assert "sec" not in described


def test_wiring_of_a_service_shows_no_password() -> None:
    wiring = Wiring(
        url="amqp://u:secret@host/",
        topology=Topology(),
        registry=HandlerRegistry(),
        instrumentation=(),
        worker={},
        publisher={},
    )

    assert "secret" not in repr(wiring)
