"""`python -m guest_worker.backups FOLDER`: the process of one job, of those that a guest has."""

import sys

if __name__ == "__main__":
    sys.modules["grpc"] = None  # type: ignore[assignment]  # as in the guest worker: Temporal's SDK loads it for nothing

from guest_worker.backups.works import WORKS
from guest_worker.job import main

if __name__ == "__main__":
    main(WORKS)
