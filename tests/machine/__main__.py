"""`python -m tests.machine`: see `command.py`. Nothing is imported before it is known that this is the first process:
its workers, which read this file too, change the clock of the waits before anybody else is there."""

import sys

if __name__ == "__main__":
    from tests.machine.command import main

    sys.exit(main())
