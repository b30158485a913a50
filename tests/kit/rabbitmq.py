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
ROOT = Path(os.environ.get("RABBITMQ_ROOT", "/"))
"""A folder with another system in it, entered by chroot: for trying another version than the system's."""
SCRIPTS = sorted((ROOT / "usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin"))
VHOSTS_AT_ONCE = 12
_DENIED = (
    "deprecated_features.permit.transient_nonexcl_queues = false\n"
    if SCRIPTS and tuple(map(int, SCRIPTS[-1].parent.name.split("-")[1].split(".")[:2])) >= (4, 3)
    else ""
)
"""What is denied by default since 4.3, but for packages of Debian."""
PLUGINS = ("rabbitmq_event_exchange",)


def missing() -> str | None:
    """Why there can be no node here, None when there can."""
    if not SCRIPTS:
        return "rabbitmq-server is not installed"
    return None if (ROOT / "usr/bin/erl").exists() else "Erlang is not installed"


class Node:
    """One broker process and its port mapper. `rights`: what each user may do in every new virtual host."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="taskroute-rabbitmq-", dir=None if str(ROOT) == "/" else ROOT / "tmp"))
        self.port, self._dist_port, self._epmd_port = _free_ports(3)
        self._name = f"taskroute-{uuid.uuid4().hex[:8]}@localhost"
        self._sbin = SCRIPTS[-1]
        self._process: subprocess.Popen[bytes] | None = None
        self._epmd: subprocess.Popen[bytes] | None = None
        self._fresh: list[str] = []
        self._used: list[str] = []
        self.rights = {"guest": (".*", ".*", ".*")}
        (self.home / "enabled_plugins").write_text(f"[{','.join(PLUGINS)}].\n")
        (self.home / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\nloopback_users = none\nlog.file.level = warning\n"
            "log.console = true\nlog.console.level = info\n" + _DENIED
        )

    def use_tls(self, certificate: bytes, key: bytes) -> int:
        """Have it listen with TLS as well; the port. Before it is started."""
        (port,) = _free_ports(1)
        (self.home / "server.pem").write_bytes(certificate)
        (self.home / "server.key").write_bytes(key)
        seen = _seen_inside(self.home)
        with (self.home / "rabbitmq.conf").open("a") as config:
            config.write(
                f"listeners.ssl.1 = 127.0.0.1:{port}\nssl_options.certfile = {seen}/server.pem\n"
                f"ssl_options.keyfile = {seen}/server.key\nssl_options.verify = verify_none\n"
            )
        return port

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        environment = self._environment()
        if self._epmd is None:
            epmd = _erlang_program("epmd", environment)
            command = [epmd, "-port", str(self._epmd_port), "-address", "127.0.0.1"]
            self._epmd = subprocess.Popen(_inside(*command), env=environment)
        self._process = subprocess.Popen(
            _inside(str(_seen_inside(self._sbin / "rabbitmq-server"))),
            env=environment,
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
        with contextlib.suppress(OSError, ValueError):
            os.kill(self._pid(), signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)

    def pause(self) -> None:
        """Stop the process where it is. Its kernel goes on acknowledging what is sent to it."""
        os.kill(self._pid(), signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self._pid(), signal.SIGCONT)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Paused for as long as the block takes."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    @contextlib.contextmanager
    def memory_alarm(self) -> Iterator[None]:
        """Out of memory, as far as it knows, for as long as the block takes: each connection knows it by then."""
        self.ctl("set_vm_memory_high_watermark", "0")
        self.eval(
            "State = fun(C) -> catch rabbit_networking:connection_info(C, [state]) end, Wait = fun W() -> "
            "case [C || C <- rabbit_networking:connections(), State(C) =:= [{state, running}]] of "
            "[] -> ok; _ -> timer:sleep(5), W() end end, Wait()."
        )
        try:
            yield
        finally:
            self.ctl("set_vm_memory_high_watermark", "0.4")

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
            _inside(str(_seen_inside(self._sbin / "rabbitmqctl")), "--quiet", *arguments),
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"rabbitmqctl {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def url(self, vhost: str = "/", *, user: str = "guest:guest", port: int | None = None) -> str:
        """How to reach a virtual host of it, by another port if there is a proxy."""
        return f"amqp://{user}@127.0.0.1:{port or self.port}/{quote(vhost, safe='')}"

    @contextlib.contextmanager
    def vhost(self) -> Iterator[str]:
        """A virtual host for one test; gives its URL."""
        with self.vhost_name() as name:
            yield self.url(name)

    @contextlib.contextmanager
    def vhost_name(self) -> Iterator[str]:
        """A virtual host for one test; gives its name. Never used again.

        They are made and deleted by the dozen: each rabbitmqctl starts a virtual machine of its own, which takes a
        good part of a second.
        """
        if not self._fresh:
            self._fresh = [f"test-{uuid.uuid4().hex[:12]}" for _ in range(VHOSTS_AT_ONCE)]
            self.eval(", ".join(map(self._make_vhost, self._fresh)) + ".")
        name = self._fresh.pop()
        try:
            yield name
        finally:
            self._used.append(name)
            if len(self._used) >= VHOSTS_AT_ONCE and self._process is not None:
                used, self._used = self._used, []
                self.eval(", ".join(f'rabbit_vhost:delete(<<"{name}">>, <<"test">>)' for name in used) + ".")

    def _make_vhost(self, name: str) -> str:
        grants = [
            f'rabbit_auth_backend_internal:set_permissions(<<"{user}">>, <<"{name}">>, '
            f'<<"{configure}">>, <<"{write}">>, <<"{read}">>, <<"test">>)'
            for user, (configure, write, read) in self.rights.items()
        ]
        return ", ".join([f'rabbit_vhost:add(<<"{name}">>, <<"test">>)', *grants])

    def close_all_connections(self) -> None:
        """Have the broker close every connection, as an operator would."""
        self.ctl("close_all_connections", "--global", "a test")  # left out: those of the vhost /

    def eval(self, expression: str) -> str:
        """Evaluate Erlang in it."""
        return self.ctl("eval", expression)

    def _pid(self) -> int:
        return int((self.home / "pid").read_text())

    def _environment(self) -> dict[str, str]:
        home = _seen_inside(self.home)
        own = {
            "HOME": home,
            "RABBITMQ_NODENAME": self._name,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": self.port,
            "RABBITMQ_DIST_PORT": self._dist_port,
            "RABBITMQ_MNESIA_BASE": home / "data",
            "RABBITMQ_LOG_BASE": home / "log",
            "RABBITMQ_CONFIG_FILE": home / "rabbitmq.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": home / "enabled_plugins",
            "RABBITMQ_PID_FILE": home / "pid",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "ERL_EPMD_PORT": self._epmd_port,
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        inherited = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        return {**inherited, "LANG": "C.UTF-8", **{name: str(value) for name, value in own.items()}}


@contextlib.contextmanager
def running(node: Node | None = None) -> Iterator[Node]:
    """A node, a plain one if none is given, that runs for as long as the block takes."""
    node = node or Node()
    try:
        node.start()
        yield node
    finally:
        node.stop()


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
        _inside("erl", "-noshell", "-eval", 'io:format("~s", [code:root_dir()]), halt().'),
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    return str(_seen_inside(max((ROOT / root[1:]).glob(f"erts-*/bin/{name}"))))


def _inside(*command: str) -> list[str]:
    return list(command) if str(ROOT) == "/" else ["chroot", str(ROOT), *command]


def _seen_inside(path: Path) -> Path:
    return Path("/") / path.relative_to(ROOT)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
