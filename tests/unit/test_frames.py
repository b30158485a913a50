"""Frames: read as they were sent, however the network cuts them; a frame that cannot be read is refused."""

from __future__ import annotations

import struct
from collections.abc import Iterable

import pytest
from amqp.exceptions import UnexpectedFrame
from hypothesis import given
from hypothesis import strategies as st

from taskroute.broker.frames import PlainTransport, frame_handler, read_deliver

Frame = tuple[int, int, bytes]
frames = st.lists(st.tuples(st.integers(1, 8), st.integers(0, 65535), st.binary(max_size=300)), max_size=8)


class Line:
    """A socket that gives these chunks; at an empty one, nothing has arrived yet."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)

    def recv(self, size: int) -> bytes:
        chunk = next(self._chunks, b"")
        if not chunk:
            raise BlockingIOError
        assert len(chunk) <= size
        return chunk


def transport_on(line: object) -> PlainTransport:
    transport = PlainTransport("localhost:1")
    transport.sock = line
    return transport


def encoded(all_frames: Iterable[Frame]) -> bytes:
    return b"".join(struct.pack(">BHI", kind, on, len(load)) + load + b"\xce" for kind, on, load in all_frames)


@given(frames, st.lists(st.integers(0, 400), max_size=40))
def test_frames_are_read_as_sent_however_the_stream_is_cut(sent: list[Frame], cuts: list[int]) -> None:
    data = encoded(sent)
    chunks, at = [], 0
    for cut in cuts:
        chunks.append(data[at : at + cut])
        at += cut
    chunks.append(data[at:])

    transport = transport_on(Line(chunks))
    found: list[Frame] = []
    timeouts = 0
    while timeouts <= len(chunks):
        try:
            found.append(transport.read_frame())
        except TimeoutError:
            timeouts += 1  # the line had nothing: the bytes read so far are kept

    assert found == sent
    assert transport.bytes_read == len(data)


def test_frame_without_its_end_octet_is_refused() -> None:
    data = bytearray(encoded([(1, 0, b"abc")]))
    data[-1] = 0

    with pytest.raises(UnexpectedFrame):
        transport_on(Line([bytes(data)])).read_frame()


def test_end_of_the_stream_is_a_connection_reset() -> None:
    class Ended:
        def recv(self, size: int) -> bytes:
            return b""

    with pytest.raises(ConnectionResetError):
        transport_on(Ended()).read_frame()


@pytest.mark.parametrize("frame", [(2, 1, b"x" * 14), (3, 1, b"x"), (7, 1, b"")])
def test_frame_out_of_its_order_is_refused(frame: Frame) -> None:
    with pytest.raises(UnexpectedFrame, match="was due"):
        frame_handler(None, lambda *_: None)(frame)


def test_delivery_is_complete_with_the_last_frame_of_its_body() -> None:
    """A heartbeat may come between its frames; a routing key that is not UTF-8 makes it malformed."""
    got: list[tuple[object, ...]] = []
    on_frame = frame_handler(None, lambda *call: got.append(call))
    method = struct.pack(">HH", 60, 60) + b"\x01c" + struct.pack(">Q", 7) + b"\x01" + b"\x01e" + b"\x02\xff."

    assert not on_frame((1, 5, method))
    assert not on_frame((8, 0, b""))  # a heartbeat comes at any time
    assert not on_frame((2, 5, struct.pack(">HHQH", 60, 0, 4, 0)))
    assert not on_frame((3, 5, b"ab"))
    assert on_frame((3, 5, b"cd"))

    ((channel, method_id, payload, content),) = got
    assert (channel, method_id, content.body) == (5, (60, 60), b"abcd")  # type: ignore[attr-defined]
    assert read_deliver(payload, content) == ("c", 7, True, "e", "\\xff.")  # type: ignore[arg-type]
    assert content.malformed == ("invalid_key", "routing_key: not UTF-8")  # type: ignore[attr-defined]


def test_delivery_without_body_frames_has_an_empty_body() -> None:
    got: list[tuple[object, ...]] = []
    on_frame = frame_handler(None, lambda *call: got.append(call))

    on_frame((1, 1, struct.pack(">HH", 60, 60)))
    assert on_frame((2, 1, struct.pack(">HHQH", 60, 0, 0, 0)))

    assert got[0][3].body == b""  # type: ignore[attr-defined]
