"""`python -m deploy up|down|status|logs|demo`."""

import sys

from deploy.settings import StackSettings
from deploy.stack import Refused, Stack, say


def main() -> int:
    """Do what the command line says; 0 is success."""
    verb = sys.argv[1] if len(sys.argv) == 2 else ""
    stack = Stack(StackSettings())
    try:
        if verb == "demo":
            from deploy.demo import demonstrate

            stack.up()
            return demonstrate(stack.settings)
        if verb == "status":
            return stack.status()
        verbs = {"up": stack.up, "down": stack.down, "logs": stack.logs}
        if verb not in verbs:
            say(__doc__ or "")
            return 2
        verbs[verb]()
    except Refused as error:
        say(f"✗ {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
