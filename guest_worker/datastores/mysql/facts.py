"""Writes what one version of MySQL has into the file that the control plane reads.

`python -m guest_worker.datastores.mysql.facts [PREFIX]` makes a database of its own in a temporary folder and asks it: to be
run where that version is installed, in the folder `PREFIX` if not in the system's, and not as root.
"""

import sys

from guest_worker.datastores.mariadb.facts import write
from guest_worker.datastores.mysql.driver import MySQL

QUESTION = (
    "SELECT CHARACTER_SET_NAME, COLLATION_NAME, COLLATION_NAME"
    " FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY"
)

if __name__ == "__main__":
    write(MySQL, sys.argv[1] if sys.argv[1:] else "", QUESTION)
