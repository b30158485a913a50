"""Frames: AMQP frames are read ahead and resumed, and what a sender may have put into a message ends no connection.

Many frames go out in one write as well: each system call gives the interpreter's lock away, and getting it back may
take milliseconds while other threads compute.

py-amqp reads a frame with three exact reads, and spins in the second one when the rest has not come yet: a stalled
peer would hold the thread for ever, heartbeats included. It also lets a header that it cannot parse end the
connection, after which the broker delivers the same message again. Both are replaced where py-amqp provides for it: a
transport class and a frame handler. Checked with py-amqp 5.4.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from struct import Struct
from typing import Any, Final

import amqp.transport
from amqp import spec
from amqp.basic_message import Message
from amqp.exceptions import UnexpectedFrame

from taskroute.broker.dial import Progress, dial, tell_nobody
from taskroute.broker.header_table import read_properties
from taskroute.message.delivery import Flaw
from taskroute.message.undecoded import UndecodedText

MAX_CONTENT_HEADER_SIZE: Final = 68 * 1024
"""Bytes of a message's properties and headers, encoded, that a handler gets at most: what a `Publisher` sends at most,
and what a retry adds."""

_READ_SIZE: Final = 64 * 1024
_WRITE_SIZE: Final = 128 * 1024
_FRAME: Final = Struct(">BHI")  # type, channel, size of the payload
_METHOD_ID: Final = Struct(">HH")
_PROPERTIES_AT: Final = 12  # after class, weight and size of the body
_TAG: Final = Struct(">Q")
_FRAME_END: Final = 0xCE
_METHOD, _CONTENT_HEADER, _CONTENT_BODY, _HEARTBEAT = 1, 2, 3, 8
Frame = tuple[int, int, bytes]
"""Type, channel, payload."""

_WITH_CONTENT: Final = frozenset({spec.Basic.Return, spec.Basic.Deliver, spec.Basic.GetOk})


class _Buffered:
    """Reads what there is and cuts it into frames. An incomplete frame stays until the rest comes.

    Between `hold` and `send_held` it keeps what is written, up to some size, and sends it in one go.
    `on_step` is told each step of connecting.
    """

    sock: Any
    on_step: Progress = staticmethod(tell_nobody)
    bytes_read = 0
    _ahead = b""
    _at = 0
    _held: bytearray | None = None

    def connect(self) -> None:
        """Connect, and send what begins the protocol."""
        super().connect()  # type: ignore[misc]
        self.on_step("waiting for the broker's connection.start")

    def _connect(self, host: str, port: int, timeout: float) -> None:
        """Replace py-amqp's, whose waits nobody can end."""
        dial(host, port, timeout, on_step=self.on_step, on_socket=self._use)

    def _use(self, sock: Any) -> None:
        self.sock = sock

    def hold(self) -> None:
        """Keep what is written from now on."""
        self._held = bytearray()

    def send_held(self) -> None:
        """Send what was kept, and keep nothing from now on."""
        held, self._held = self._held, None
        if held:
            self.write(held)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send, or between `hold` and `send_held` keep."""
        if self._held is None:
            super().write(data)  # type: ignore[misc]  # of py-amqp's transport, which this is mixed into
            return
        self._held += data
        if len(self._held) >= _WRITE_SIZE:
            self.send_held()
            self.hold()

    def read_frame(self) -> Frame:
        """Return the next frame, and wait for it as long as the socket's timeout says.

        Raises:
            TimeoutError: it is not there, or not complete.
            OSError: the connection is broken.
        """
        while (frame := self._cut()) is None:
            try:
                self._keep(self.sock.recv(_READ_SIZE))
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise TimeoutError from None
        return frame

    def arrived(self) -> Iterator[Frame]:
        """Yield the frames that are there, without waiting.

        Raises:
            OSError: the connection is broken.
        """
        more = True
        while True:
            frame = self._cut()
            if frame is not None:
                yield frame
            elif more:
                more = self._read_now()
            else:
                return

    def _read_now(self) -> bool:
        """Read what is there, once, and return whether there may be more."""
        try:
            with self.having_timeout(0):  # type: ignore[attr-defined]
                self._keep(self.sock.recv(_READ_SIZE))
        except TimeoutError:
            return False
        return True

    def _cut(self) -> Frame | None:
        start = self._at + _FRAME.size
        if len(self._ahead) < start:
            return None
        kind, channel, size = _FRAME.unpack_from(self._ahead, self._at)
        end = start + size
        if len(self._ahead) <= end:
            return None
        if self._ahead[end] != _FRAME_END:
            raise UnexpectedFrame(f"a frame of type {kind} does not end where it says")
        self._at = end + 1
        return kind, channel, self._ahead[start:end]

    def _keep(self, chunk: bytes) -> None:
        if not chunk:
            raise ConnectionResetError("the broker closed the connection without a word")
        self._ahead = self._ahead[self._at :] + chunk
        self._at = 0
        self.bytes_read += len(chunk)


class PlainTransport(_Buffered, amqp.transport.TCPTransport):  # type: ignore[misc]
    """TCP."""

    def _read_now(self) -> bool:
        try:
            # A flag for the one call: setting the socket's timeout and back would be two more system calls.
            chunk = self.sock.recv(_READ_SIZE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        self._keep(chunk)
        return len(chunk) == _READ_SIZE


class CooperativeTransport(_Buffered, amqp.transport.TCPTransport):  # type: ignore[misc]
    """TCP on sockets that let other greenlets run while they wait (gevent's): a flag does not keep those from it."""

    def _init_socket(self, settings: Any, read_timeout: float | None, write_timeout: float | None) -> None:
        super()._init_socket(settings, read_timeout, write_timeout)
        self.sock.settimeout(read_timeout)  # the system's own, which py-amqp sets, mean nothing to these


class TlsTransport(_Buffered, amqp.transport.SSLTransport):  # type: ignore[misc]
    """TLS over TCP, with the given `ssl.SSLContext`, which py-amqp's own options cannot express.

    The TLS layer is read until it has nothing: a selector does not see what it holds.
    """

    def _setup_transport(self) -> None:
        """Shake hands on a socket that others can already see, and so shut down."""
        context, name = self.sslopts["context"], self.sslopts["server_hostname"]
        self.sock = context.wrap_socket(self.sock, server_hostname=name, do_handshake_on_connect=False)
        self.sock.settimeout(self.connect_timeout)
        self.on_step("waiting for the TLS handshake")
        self.sock.do_handshake()
        self._quick_recv = self.sock.read

    def _shutdown_transport(self) -> None:
        """Say farewell, and wait for no answer: nobody may be there to give it."""
        self.sock.settimeout(0)
        super()._shutdown_transport()


class Content(Message):  # type: ignore[misc]
    """A message as it comes in. `malformed` says what is wrong with it besides its body: a reason and a text."""

    __slots__ = ("has_header", "malformed")

    def __init__(self, *, body: bytes = b"", **options: Any) -> None:
        super().__init__(body=body, **options)  # py-amqp's own default is a str, of which an empty body stays one
        self.has_header = False
        self.malformed: Flaw | None = None

    def inbound_header(self, buf: bytes, offset: int = 0) -> int:
        """Read the properties. A value that cannot be decoded stays undecoded, and costs only itself."""
        self.has_header = True
        if len(buf) > MAX_CONTENT_HEADER_SIZE:
            self.malformed = ("too_large", f"headers: {len(buf)} bytes, the limit is {MAX_CONTENT_HEADER_SIZE}")
        try:
            end: int = super().inbound_header(buf, offset)
        except Exception:  # noqa: BLE001 - whatever a sender wrote, from bad UTF-8 to a year 10,000
            end = super().inbound_header(_without_properties(buf, offset))
            self._read_one_by_one(buf, offset + _PROPERTIES_AT)
        headers = self.properties.get("application_headers")
        if headers and bytes in map(type, headers):  # what py-amqp makes of a name that is not UTF-8
            self.properties["application_headers"] = {_as_text(name): value for name, value in headers.items()}
        return end

    def _read_one_by_one(self, buf: bytes, at: int) -> None:
        try:
            self.properties.update(read_properties(buf, at))
        except (ValueError, IndexError, struct.error) as error:  # it does not even say where a value ends
            self.malformed = self.malformed or ("invalid_header", f"headers: {type(error).__name__}")


def _without_properties(header: bytes, offset: int) -> bytes:
    """Return a content header's class and body size, with the flags of no property."""
    return header[offset : offset + _PROPERTIES_AT] + b"\0\0"


def frame_handler(
    _: object,
    callback: Callable[[int, Any, bytes, Content | None], None],
    incoming: dict[int, Content] | None = None,
) -> Callable[..., bool]:
    """Return a function that takes frames and calls `callback` with each method, when its content is complete.

    `incoming` has what is not complete, by channel.
    """
    contents: dict[int, Content] = {} if incoming is None else incoming

    def on_frame(frame: Frame) -> bool:
        kind, channel, payload = frame
        if kind == _HEARTBEAT:
            return False
        content = contents.get(channel)
        expected = _METHOD if content is None else _CONTENT_BODY if content.has_header else _CONTENT_HEADER
        if kind != expected:
            raise UnexpectedFrame(f"a frame of type {kind} where type {expected} was due")
        if content is None:
            method = _METHOD_ID.unpack_from(payload)
            if method in _WITH_CONTENT:
                contents[channel] = Content(frame_method=method, frame_args=payload)
                return False
            callback(channel, method, payload, None)
            return True
        if kind == _CONTENT_HEADER:
            content.inbound_header(payload)
        else:
            content.inbound_body(payload)
        if not content.ready:
            return False
        del contents[channel]
        callback(channel, content.frame_method, content.frame_args, content)
        return True

    return on_frame


def read_deliver(payload: bytes, content: Content) -> tuple[str, int, bool, str, str]:
    """Return the fields of basic.deliver. Names that are not UTF-8 are shown escaped, and the content is marked."""
    consumer_tag, at = _short_string(payload, _METHOD_ID.size, content)
    (delivery_tag,) = _TAG.unpack_from(payload, at)
    at += _TAG.size
    exchange, key_at = _short_string(payload, at + 1, content)
    routing_key, _ = _short_string(payload, key_at, content)
    return consumer_tag, delivery_tag, payload[at] & 1 == 1, exchange, routing_key


def _as_text(name: str | bytes) -> str:
    return name if isinstance(name, str) else UndecodedText.of(name)


def _short_string(payload: bytes, at: int, content: Content) -> tuple[str, int]:
    end = at + 1 + payload[at]
    raw = payload[at + 1 : end]
    try:
        return raw.decode(), end
    except UnicodeDecodeError:
        content.malformed = ("invalid_key", "routing_key: not UTF-8")
        return raw.decode(errors="backslashreplace"), end
