"""Play stories by hand: python -m tests.machine.play URL FIRST COUNT LENGTH."""

import sys
import time
import traceback

from tests.machine.ground import Ground
from tests.machine.story import failure_of, invent, kind, shrink


def main() -> None:
    url, first, count, length = sys.argv[1], *map(int, sys.argv[2:5])
    ground = Ground(url)
    began = time.perf_counter()
    for seed in range(first, first + count):
        steps = invent(seed, length)
        failure = failure_of(ground, steps)
        if failure is None:
            continue
        print(f"seed {seed}: {type(failure).__name__}: {str(failure)[:300]}", flush=True)
        if "-s" in sys.argv:
            said = kind(failure)
            short = shrink(steps, lambda shorter, said=said: kind(failure_of(ground, shorter)) == said)
            print("   ", short, flush=True)
            print("".join(traceback.format_exception(failure_of(ground, short)))[-1500:])
    print(f"{(time.perf_counter() - began) / count:.2f} s a story")


if __name__ == "__main__":
    main()
