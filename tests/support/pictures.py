"""Small images and sounds for tests, made with the standard library."""

from __future__ import annotations

import io
import math
import struct
import wave
import zlib


def png(width: int = 8, height: int = 8, colour: tuple[int, int, int] = (230, 90, 30)) -> bytes:
    rows = b"".join(b"\0" + bytes(colour) * width for _ in range(height))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


def wav(seconds: float = 0.25, hz: float = 440.0, rate: int = 8000) -> bytes:
    held = io.BytesIO()
    with wave.open(held, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        tones = (int(9000 * math.sin(2 * math.pi * hz * at / rate)) for at in range(int(rate * seconds)))
        file.writeframes(b"".join(struct.pack("<h", tone) for tone in tones))
    return held.getvalue()
