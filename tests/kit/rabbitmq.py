"""A RabbitMQ node of the tests' own: free ports, its own name, data folder and port mapper; never the system's."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from tests.kit.ports import KeptPort

BOOT_DEADLINE = 180.0
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


@dataclass(frozen=True)
class Place:
    """Where a node runs: the address that clients connect to, the host in its name, which the other nodes connect to,
    and the command that enters its network."""

    address: str = "127.0.0.1"
    host: str = "127.0.0.1"
    enter: tuple[str, ...] = ()


HERE: Final = Place()


class PortMapper:
    """Tells the nodes of one host and their tools which ports the nodes have. Those of a cluster have the same port."""

    def __init__(self, place: Place = HERE, port: int | None = None) -> None:
        self._kept = None if port else KeptPort()
        self.port = port or self._kept.number  # type: ignore[union-attr]
        self._place = place
        self._process: subprocess.Popen[bytes] | None = None
        self._starting = threading.Lock()

    def start(self, environment: dict[str, str]) -> None:
        """Start it, unless it runs. Any thread: the nodes of a cluster start at the same time."""
        with self._starting:
            if self._process is None:
                program = _erlang_program("epmd", environment)
                command = _inside(program, "-port", str(self.port), "-address", self._place.host)
                self._process = subprocess.Popen([*self._place.enter, *command], env=environment)

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
        if self._kept is not None:
            self._kept.let_go()


class Node:
    """One broker process, with a port mapper of its own unless one is given.

    `rights`: what each user may do in every new virtual host.

    Args:
        place: where it runs.
        port_mapper: that of the cluster that it is to join.
        cookie: the secret of that cluster.
        config: further lines of its configuration.
        flags: of the Erlang machine.
    """

    def __init__(
        self,
        place: Place = HERE,
        port_mapper: PortMapper | None = None,
        cookie: str | None = None,
        config: Sequence[str] = (),
        flags: str = "",
    ) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="taskroute-rabbitmq-", dir=None if str(ROOT) == "/" else ROOT / "tmp"))
        self._kept: list[KeptPort] = []
        self.port, self._dist_port = self._keep_port(), self._keep_port()
        self.api_port = 0
        self._place = place
        self._port_mapper = port_mapper or PortMapper(place)
        self.name = f"taskroute-{uuid.uuid4().hex[:8]}@{place.host}"
        self._flags = flags
        self._sbin = SCRIPTS[-1]
        self._process: subprocess.Popen[bytes] | None = None
        self._is_paused = False
        self._fresh: list[str] = []
        self._used: list[str] = []
        self.rights = {"guest": (".*", ".*", ".*")}
        (self.home / "enabled_plugins").write_text(f"[{','.join(PLUGINS)}].\n")
        (self.home / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = {place.address}:{self.port}\nloopback_users = none\nlog.file.level = warning\n"
            "log.console = true\nlog.console.level = info\n" + _DENIED + "".join(f"{line}\n" for line in config)
        )
        if cookie is not None:
            (self.home / ".erlang.cookie").write_text(cookie)
            (self.home / ".erlang.cookie").chmod(0o400)

    def use_tls(self, certificate: bytes, key: bytes) -> int:
        """Have it listen with TLS as well; the port. Before it is started."""
        port = self._keep_port()
        (self.home / "server.pem").write_bytes(certificate)
        (self.home / "server.key").write_bytes(key)
        seen = _seen_inside(self.home)
        with (self.home / "rabbitmq.conf").open("a") as config:
            config.write(
                f"listeners.ssl.1 = 127.0.0.1:{port}\nssl_options.certfile = {seen}/server.pem\n"
                f"ssl_options.keyfile = {seen}/server.key\nssl_options.verify = verify_none\n"
            )
        return port

    def use_management(self) -> None:
        """Have it answer the management API, which counts every second. Before it is started."""
        self.api_port = self._keep_port()
        (self.home / "enabled_plugins").write_text(f"[{','.join((*PLUGINS, 'rabbitmq_management'))}].\n")
        with (self.home / "rabbitmq.conf").open("a") as config:
            config.write(
                f"management.tcp.ip = {self._place.address}\nmanagement.tcp.port = {self.api_port}\n"
                "collect_statistics_interval = 1000\n"
            )

    def use_prometheus(self) -> int:
        """Have it show its metrics, and count every second; the port. Before it is started, and alone."""
        port = self._keep_port()
        (self.home / "enabled_plugins").write_text(f"[{','.join((*PLUGINS, 'rabbitmq_prometheus'))}].\n")
        with (self.home / "rabbitmq.conf").open("a") as config:
            config.write(
                f"prometheus.tcp.ip = {self._place.address}\nprometheus.tcp.port = {port}\n"
                "collect_statistics_interval = 1000\n"
            )
        return port

    @property
    def api(self) -> str:
        """The URL of its management API, without a user."""
        return f"http://{self._place.address}:{self.api_port}"

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        environment = self._environment()
        self._port_mapper.start(environment)
        self._process = subprocess.Popen(
            self._command("rabbitmq-server"),
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

    @property
    def is_running(self) -> bool:
        """Whether it was started, and neither killed nor paused since."""
        return self._process is not None and not self._is_paused

    def wipe(self) -> None:
        """Remove its data, while it is down."""
        shutil.rmtree(self.home / "data")

    def shut_down(self) -> None:
        """End it as an operator does, in good order."""
        self.ctl("stop", str(_seen_inside(self.home / "pid")))
        self.kill()

    def pause(self) -> None:
        """Stop the process where it is. Its kernel goes on acknowledging what is sent to it."""
        self._is_paused = True
        os.kill(self._pid(), signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self._pid(), signal.SIGCONT)
        self._is_paused = False

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
        self._port_mapper.stop()
        for port in self._kept:
            port.let_go()
        shutil.rmtree(self.home, ignore_errors=True)

    def restart(self) -> None:
        """Kill it and start it again on the same data."""
        self.kill()
        self.start()

    def ctl(self, *arguments: str, tool: str = "rabbitmqctl") -> str:
        """Run rabbitmqctl or another tool against it; return what it prints."""
        done = subprocess.run(
            self._command(tool, "--quiet", *arguments),
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{tool} {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def url(self, vhost: str = "/", *, user: str = "guest:guest", port: int | None = None) -> str:
        """How to reach a virtual host of it, by another port if there is a proxy."""
        return f"amqp://{user}@{self._place.address}:{port or self.port}/{quote(vhost, safe='')}"

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

    def _keep_port(self) -> int:
        """Return a port that is its own until it is stopped, also while it does not listen."""
        port = KeptPort()
        self._kept.append(port)
        return port.number

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

    def _command(self, script: str, *arguments: str) -> list[str]:
        return [*self._place.enter, *_inside(str(_seen_inside(self._sbin / script)), *arguments)]

    def _pid(self) -> int:
        return int((self.home / "pid").read_text())

    def _environment(self) -> dict[str, str]:
        home = _seen_inside(self.home)
        interface = f"-kernel inet_dist_use_interface {{{self._place.host.replace('.', ',')}}}"
        own = {
            "HOME": home,
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_USE_LONGNAME": "true",  # the host in it is an address
            "RABBITMQ_NODE_IP_ADDRESS": self._place.address,
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{self._flags} {interface}",
            "RABBITMQ_NODE_PORT": self.port,
            "RABBITMQ_DIST_PORT": self._dist_port,
            "RABBITMQ_MNESIA_BASE": home / "data",
            "RABBITMQ_LOG_BASE": home / "log",
            "RABBITMQ_CONFIG_FILE": home / "rabbitmq.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": home / "enabled_plugins",
            "RABBITMQ_PID_FILE": home / "pid",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "ERL_EPMD_PORT": self._port_mapper.port,
            "ERL_EPMD_ADDRESS": self._place.host,
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
