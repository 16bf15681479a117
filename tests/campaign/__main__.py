"""`make campaign KILLS=100 SEED=1`: a hundred kills, a line each, and a table. `make campaign FAULTS=1`: every fault."""

import argparse
import signal
import sys
import time

from tests.campaign import faults
from tests.campaign.ground import server
from tests.campaign.kills import Campaign, Outcome


def main() -> int:
    parser = argparse.ArgumentParser(prog="make campaign")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", action="store_true")
    parser.add_argument("--records", type=int, default=1500, help="contacts in each CRM of the linked worlds")
    parser.add_argument(
        "--initial", type=int, default=500, help="contacts in each CRM of a world that is loaded"
    )
    asked = parser.parse_args()
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(1)
    )  # the server and the simulators are stopped then, too
    begun = time.monotonic()
    with server() as postgres:
        outcome: Outcome | faults.Outcome
        if asked.faults:
            campaign = faults.Campaign(
                postgres, seed=asked.seed, records=asked.records, rounds=8, most=24, tell=_tell
            )
            outcome = campaign.run()
        else:
            kills = Campaign(
                postgres, seed=asked.seed, records=asked.records, initial=asked.initial, bulk=200, tell=_tell
            )
            outcome = kills.run(asked.kills)
    for wrong in outcome.wrong:
        _tell(f"WRONG: {wrong}")
    _tell(outcome.table())
    _tell(f"seed {asked.seed}, {time.monotonic() - begun:.0f} s")
    return 1 if outcome.wrong or getattr(outcome, "never", None) else 0


def _tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
