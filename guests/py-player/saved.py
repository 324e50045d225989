"""A player's state in the bytes that the built-in player saves, too.

Version 0, then the points as a zigzag varint.
"""

# A new version gets the next number, and `read` goes on reading the older ones.
VERSION = 0


def write(points: int) -> bytes:
    """Returns the bytes of a state."""
    state = bytearray([VERSION])
    # Small numbers of either sign become small numbers: 0, -1, 1, -2 … are 0, 1, 2, 3 …
    rest = -2 * points - 1 if points < 0 else 2 * points
    while rest >= 0x80:
        state.append(rest & 0x7F | 0x80)
        rest >>= 7
    state.append(rest)
    return bytes(state)


def read(state: bytes) -> int:
    """Reads the bytes of a state.

    Raises `ValueError`, in plain words, if they are of something else.
    """
    if state and state[0] != VERSION:
        raise ValueError(
            f"the saved state has version {state[0]}, and this player reads {VERSION} only"
        )
    varint = state[1:]
    number = sum((byte & 0x7F) << 7 * at for at, byte in enumerate(varint))
    ends = [at for at, byte in enumerate(varint) if byte < 0x80]
    if ends != [len(varint) - 1] or len(varint) > 10 or number >= 2**64:
        raise ValueError("the saved state is cut off or damaged")
    return -(number >> 1) - 1 if number & 1 else number >> 1
