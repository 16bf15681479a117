"""`python -m crm_sync.mapping docs/reference`: bring the generated documentation of connection files up to date."""

import sys
from pathlib import Path

from crm_sync.mapping.reference import write

if __name__ == "__main__":
    write(Path(sys.argv[1]))
