"""The default player in Python: points that rewards add to."""

import json
from typing import NoReturn

import wit_world
from componentize_py_types import Err
from wit_world.imports.types import Level, Term, Term_Text

import saved

# The whole state of this player. It survives because its memory does.
total = 0


class WitWorld(wit_world.WitWorld):
    """The exports of the world."""

    def reward(self, points: Term) -> int:
        global total
        if isinstance(points, Term_Text):
            refuse(f"not an integer: {json.dumps(points.value, ensure_ascii=False)}")
        if not -(2**63) <= total + points.value < 2**63:
            refuse(f"points overflow: {total} + {points.value}")
        total += points.value
        return total

    def points(self) -> int:
        return total


class Migrate:
    """The exports of the interface `migrate`."""

    def save(self) -> bytes:
        return saved.write(total)

    def load(self, state: bytes) -> None:
        global total
        try:
            total = saved.read(state)
        except ValueError as why:
            # The error of the result.
            raise Err(str(why))


def refuse(why: str) -> NoReturn:
    """Says why, and ends the call: an exception that nobody catches is a trap.

    The host drops what the call has changed.
    """
    wit_world.log(Level.ERROR, why)
    raise ValueError(why)
