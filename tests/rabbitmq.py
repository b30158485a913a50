"""A RabbitMQ node of the tests' own: free ports, its own name, data folder and port mapper; never the system's."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

BOOT_DEADLINE = 90.0
SCRIPTS = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin"))
PLUGINS = ("rabbitmq_event_exchange",)


def missing() -> str | None:
    """Why there can be no node here, None when there can."""
    if not SCRIPTS:
        return "rabbitmq-server is not installed"
    return None if shutil.which("erl") else "Erlang is not installed"


class Node:
    """One broker process and its port mapper."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="taskroute-rabbitmq-"))
        self.port, self._dist_port, self._epmd_port = _free_ports(3)
        self._name = f"taskroute-{uuid.uuid4().hex[:8]}@localhost"
        self._sbin = SCRIPTS[-1]
        self._process: subprocess.Popen[bytes] | None = None
        self._epmd: subprocess.Popen[bytes] | None = None
        (self.home / "enabled_plugins").write_text(f"[{','.join(PLUGINS)}].\n")
        (self.home / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\nloopback_users = none\nlog.file.level = warning\n"
            "log.console = true\nlog.console.level = info\n"
        )

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        environment = self._environment()
        if self._epmd is None:
            epmd = _erlang_program("epmd", environment)
            self._epmd = subprocess.Popen([epmd, "-port", str(self._epmd_port), "-address", "127.0.0.1"])
        self._process = subprocess.Popen(
            [str(self._sbin / "rabbitmq-server")],
            env=environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        log = _Log(self._process)
        if not log.booted.wait(BOOT_DEADLINE):
            self.kill()
            raise RuntimeError(f"RabbitMQ did not start within {BOOT_DEADLINE} s:\n{log.text[-4000:]}")
        if log.ended:
            raise RuntimeError(f"RabbitMQ ended while it started:\n{log.text[-4000:]}")

    def kill(self) -> None:
        """End it as a power cut would."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((self.home / "pid").read_text()), signal.SIGKILL)
        process.wait(30)

    def stop(self) -> None:
        """End it and remove what it wrote."""
        self.kill()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait(30)
        shutil.rmtree(self.home, ignore_errors=True)

    def restart(self) -> None:
        """Kill it and start it again on the same data."""
        self.kill()
        self.start()

    def ctl(self, *arguments: str) -> str:
        """Run rabbitmqctl against it; return what it prints."""
        done = subprocess.run(
            [str(self._sbin / "rabbitmqctl"), "--quiet", *arguments],
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"rabbitmqctl {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def url(self, vhost: str = "/") -> str:
        """How to reach a virtual host of it."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/{quote(vhost, safe='')}"

    @contextlib.contextmanager
    def vhost(self) -> Iterator[str]:
        """A virtual host for one test; gives its URL."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        # One call for two steps: each rabbitmqctl starts a virtual machine of its own, which takes a second.
        self._evaluate(
            f'rabbit_vhost:add(<<"{name}">>, <<"test">>), '
            f'rabbit_auth_backend_internal:set_permissions(<<"guest">>, <<"{name}">>, '
            f'<<".*">>, <<".*">>, <<".*">>, <<"test">>).'
        )
        try:
            yield self.url(name)
        finally:
            if self._process is not None:
                self._evaluate(f'rabbit_vhost:delete(<<"{name}">>, <<"test">>).')

    def close_all_connections(self) -> None:
        """Have the broker close every connection, as an operator would."""
        self.ctl("close_all_connections", "a test")

    def _evaluate(self, expression: str) -> None:
        self.ctl("eval", expression)

    def _environment(self) -> dict[str, str]:
        own = {
            "HOME": self.home,
            "RABBITMQ_NODENAME": self._name,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": self.port,
            "RABBITMQ_DIST_PORT": self._dist_port,
            "RABBITMQ_MNESIA_BASE": self.home / "data",
            "RABBITMQ_LOG_BASE": self.home / "log",
            "RABBITMQ_CONFIG_FILE": self.home / "rabbitmq.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": self.home / "enabled_plugins",
            "RABBITMQ_PID_FILE": self.home / "pid",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "ERL_EPMD_PORT": self._epmd_port,
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        inherited = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        return {**inherited, "LANG": "C.UTF-8", **{name: str(value) for name, value in own.items()}}


class _Log:
    """Reads what the node prints, so that it never blocks on a full pipe."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.booted = threading.Event()
        self.ended = False
        self.text = ""
        self._process = process
        threading.Thread(target=self._read, daemon=True, name="rabbitmq-log").start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            for line in stream:
                if not self.booted.is_set():
                    self.text += line.decode(errors="replace")
                    if b"completed with" in line:
                        self.booted.set()
        self.ended = not self.booted.is_set()
        self.booted.set()


def _erlang_program(name: str, environment: dict[str, str]) -> str:
    root = subprocess.run(
        ["erl", "-noshell", "-eval", 'io:format("~s", [code:root_dir()]), halt().'],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    return str(max(Path(root).glob(f"erts-*/bin/{name}")))


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
