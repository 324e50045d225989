"""The player NAME: its whole state is the variable below.

Nothing saves it from call to call: the host keeps the memory that it lives in. This module is imported
when it is built; what its variables hold then is what each player begins with, and all that it needs
must be imported at the top.
"""

import json
from typing import NoReturn

import wit_world
from componentize_py_types import Err
from wit_world.imports.types import Level, Term, Term_Text

import saved

# How often each point of a reward counts.
REWARD_COUNTS = 1

# The points. It survives traps and dead machines because its memory does.
total = 0


class WitWorld(wit_world.WitWorld):
    """What can be called."""

    def reward(self, points: Term) -> int:
        if isinstance(points, Term_Text):
            refuse(f"not an integer: {json.dumps(points.value, ensure_ascii=False)}")
        return add(points.value, REWARD_COUNTS)

    def points(self) -> int:
        return total

    def give_bonus(self, bonus: wit_world.Bonus) -> int:
        return add(bonus.points, bonus.times)


class Migrate:
    """Other code takes the state over by these two: what `save` returns is given to its `load`.

    The bytes begin with a version; see saved.py.
    """

    def save(self) -> bytes:
        return saved.write(total)

    def load(self, state: bytes) -> None:
        global total
        try:
            total = saved.read(state)
        except ValueError as why:
            # The error of the result.
            raise Err(str(why))


def add(points: int, times: int) -> int:
    """Adds points and returns the new total."""
    global total
    if not -(2**63) <= total + points * times < 2**63:
        refuse(f"points overflow: {total} + {points} * {times}")
    total += points * times
    return total


def refuse(why: str) -> NoReturn:
    """Says why, and ends the call: an exception that nobody catches is a trap.

    The host drops what the call has changed, and the caller reads this.
    """
    wit_world.log(Level.ERROR, why)
    raise ValueError(why)
