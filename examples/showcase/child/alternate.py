"""Call the parts named in the arguments in turns, and print the milliseconds that one turn takes, as JSON.

Usage: ``python alternate.py SECONDS PART...``. The parts are imported in this order. Printed are
the median and the best of the rounds; SECONDS is about how long all of them take.
"""

import json
import statistics
import sys
import time

from parts import PARTS

ROUNDS = 5


def main():
    """Warm up, find out how many turns make a round, measure."""
    seconds = float(sys.argv[1])
    calls = [PARTS[name]() for name in sys.argv[2:]]

    def turns(count):
        started = time.perf_counter()
        for _ in range(count):
            for call in calls:
                call()
        return (time.perf_counter() - started) / count

    turns(3)
    each = turns(5)
    count = max(3, round(seconds / ROUNDS / each))
    rounds = [turns(count) * 1000 for _ in range(ROUNDS)]
    print(json.dumps({"ms": statistics.median(rounds), "best": min(rounds), "turns": count}))


if __name__ == "__main__":
    main()
