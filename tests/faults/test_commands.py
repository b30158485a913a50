"""Commands of the command line whose broker does not answer, or that are interrupted."""

from __future__ import annotations

import signal
import socket
import threading
from pathlib import Path

import pytest
from tests.faults.site import Site
from tests.kit.command_line import CommandLine
from tests.kit.command_process import running
from tests.kit.ports import silent_port
from tests.kit.waiting import DEADLINE

PUBLISH = "publish wiring:routes order.7.paid --body {} --url amqp://shop:hidden@127.0.0.1:PORT/"
STATS = "stats wiring:routes --url amqp://shop:hidden@127.0.0.1:PORT/"


@pytest.fixture
def line(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(tmp_path, capfd, monkeypatch)


@pytest.mark.row(76)
@pytest.mark.parametrize(
    ("words", "told"), [(PUBLISH, "waiting for the broker's connection.start"), (STATS, "timed out")]
)
def test_broker_that_is_silent_ends_a_command_in_time(line: CommandLine, words: str, told: str) -> None:
    with silent_port() as port:
        ended = line.run(*words.replace("PORT", str(port)).split(), "--timeout", "1")

    assert (ended.code, ended.out, ended.err.count("\n")) == (3, "", 1)
    assert told in ended.err
    assert "hidden" not in ended.err


@pytest.mark.row(76)
@pytest.mark.parametrize("words", [PUBLISH + " --timeout 0.1", STATS])
def test_broker_that_hangs_up_ends_a_command_with_3(line: CommandLine, words: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as broker:

        def hang_up() -> None:
            while True:
                try:
                    broker.accept()[0].close()
                except OSError:
                    return

        thread = threading.Thread(target=hang_up)
        thread.start()
        ended = line.run(*words.replace("PORT", str(broker.getsockname()[1])).split())
        broker.shutdown(socket.SHUT_RDWR)
        thread.join(DEADLINE)

    assert (ended.code, ended.out, ended.err.count("\n")) == (3, "", 1)
    assert "no connection to amqp://shop@127.0.0.1" in ended.err


@pytest.mark.row(76)
@pytest.mark.parametrize("words", [f"{PUBLISH} --timeout 3600", STATS])
def test_interrupt_ends_a_command_that_waits_for_its_broker(line: CommandLine, words: str) -> None:
    """It waits for nothing any more, not even for a message that may still be written."""
    with socket.create_server(("127.0.0.1", 0)) as broker:
        port = broker.getsockname()[1]
        with (
            running(*words.replace("PORT", str(port)).split(), folder=line.folder) as command,
            command.accept(broker),
        ):
            command.send(signal.SIGINT)

            assert command.wait() == -signal.SIGINT
            assert command.text == ""


@pytest.mark.row(76)
def test_user_with_few_rights_is_told_what_is_denied(line: CommandLine, site: Site) -> None:
    words = ["publish", "wiring:routes", "order.7.paid", "--body", "{}"]
    assert line.run(*words, "--url", site.url).code == 0

    denied = line.run(*words, "--url", site.limited_url)
    published = line.run(*words, "--declare", "verify", "--url", site.limited_url)

    assert (denied.code, denied.err.count("\n")) == (3, 1)
    assert "exchange 'shop'" in denied.err
    assert published.code == 0
    assert line.run("stats", "wiring:routes", "--url", site.url).out.split()[-5:] == ["2", "0", "0", "0", "packing"]
