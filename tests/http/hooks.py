"""What the fuzzer of the HTTP interface does not know by itself."""

import time
import zlib

import schemathesis

NOW = int(time.time() * 1000)


def draw(generated, upto):
    """Draws a number that what was generated decides, so that a run can be repeated."""
    return zlib.crc32(repr(generated).encode()) % upto


@schemathesis.serializer("application/wasm", "application/octet-stream")
def plain(ctx, value):
    """Sends bytes as they are: nearly none are a component or a state, and each must be refused."""
    return value if isinstance(value, bytes) else str(value).encode()


@schemathesis.deserializer("application/octet-stream")
def state(ctx, response):
    """Takes a player's state as it is."""
    return response.content.decode("latin-1")


@schemathesis.hook
def map_path_parameters(ctx, path_parameters):
    """Has most requests speak of few players, so that they meet."""
    parameters = path_parameters or {}
    if "player" in parameters and draw(parameters, 5) > 0:
        parameters["player"] = f"player{draw(parameters, 4)}"
    if "function" in parameters and draw(parameters, 5) > 0:
        parameters["function"] = ["points", "reward"][draw(parameters, 2)]
    return path_parameters


@schemathesis.hook
def map_headers(ctx, headers):
    """Has most keys be of today: those of the future are refused."""
    if headers and "Idempotency-Key" in headers and draw(headers, 5) > 0:
        key = NOW << 80 | 7 << 76 | 0b10 << 62 | draw(headers, 1000)
        digits = f"{key:032x}"
        parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
        headers["Idempotency-Key"] = "-".join(parts)
    return headers
