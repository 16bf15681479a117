"""Play stories by hand: python -m tests.machine.play URL FIRST COUNT LENGTH."""

import sys
import time
import traceback

from tests.machine.ground import Ground
from tests.machine.story import Step, Story, invent, shrink


def _ends(ground: Ground, steps: list[Step]) -> tuple[type | None, str, str]:
    try:
        Story(ground).play(steps)
    except Exception as error:
        return type(error), str(error)[:14], traceback.format_exc()
    return None, "", ""


def main() -> None:
    url, first, count, length = sys.argv[1], *map(int, sys.argv[2:5])
    ground = Ground(url)
    began = time.perf_counter()
    for seed in range(first, first + count):
        steps = invent(seed, length)
        try:
            Story(ground).play(steps)
        except Exception as error:
            said = type(error), str(error)[:14]
            print(f"seed {seed}: {type(error).__name__}: {str(error)[:300]}", flush=True)
        else:
            continue
        if "-s" in sys.argv:
            short = shrink(steps, lambda shorter, said=said: _ends(ground, shorter)[:2] == said)
            print("   ", short, flush=True)
            print(_ends(ground, short)[2][-1500:])
    print(f"{(time.perf_counter() - began) / count:.2f} s a story")


if __name__ == "__main__":
    main()
