"""`python -m tests.clients.openstack_client`: the unmodified `openstack` command, loaded once.

Each line of its input is a command as JSON, its environment and its words. It is done in a child of this process; its exit
code, output and errors are a line of the output. To load the command takes longer than what it does.
"""

import json
import os
import sys
import tempfile
from importlib import import_module

LOADED = (
    "openstackclient.shell",
    "openstack.connection",
    "troveclient.osc.v1.database_instances",
    "troveclient.v1.client",
)


def main() -> None:
    """Do commands until the input ends."""
    for each in LOADED:
        import_module(each)
    for line in sys.stdin:
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            child = os.fork()
            if child == 0:
                os.dup2(output.fileno(), 1)
                os.dup2(errors.fileno(), 2)
                _do(*json.loads(line))
            _, status = os.waitpid(child, 0)
            said = []
            for file in (output, errors):
                file.seek(0)
                said.append(file.read().decode())
        sys.stdout.write(json.dumps([os.waitstatus_to_exitcode(status), *said]) + "\n")
        sys.stdout.flush()


def _do(environment: dict[str, str], words: list[str]) -> None:
    from openstackclient import shell

    os.environ.update(environment)
    sys.argv = ["openstack", *words]
    code = 1
    try:
        code = shell.main(words)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code or 0)


if __name__ == "__main__":
    main()
