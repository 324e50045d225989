import pathlib
import unittest

import saved

STATES = pathlib.Path(__file__).parent.parent / "saved-states.txt"


class Saved(unittest.TestCase):
    def test_states_are_saved_and_refused_as_by_every_other_player(self):
        lines = [line for line in STATES.read_text().splitlines() if not line.startswith("#")]
        self.assertGreater(len(lines), 10)
        for line in lines:
            state, _, digits = line.partition(" ")
            with self.subTest(line):
                if state in ("version", "damaged"):
                    self.assertRaisesRegex(ValueError, state, saved.read, bytes.fromhex(digits))
                else:
                    self.assertEqual(saved.write(int(state)), bytes.fromhex(digits))
                    self.assertEqual(saved.read(bytes.fromhex(digits)), int(state))


if __name__ == "__main__":
    unittest.main()
