"""One log format for every process. Text from outside can neither begin a line of its own nor move a terminal's cursor."""

import logging

from contract.domain.errors import NotYet

FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
CONTINUED = "    | "  # begins each further line of a record: a traceback, for example


def escaped(text: str) -> str:
    r"""Replace each character that does not print by its escape: `\n`, `\x1b`, `\u202e`."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escape(each) for each in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


class LineFormatter(logging.Formatter):
    """A record's first line holds its message, escaped; each line of a traceback follows behind `CONTINUED`."""

    def __init__(self) -> None:
        super().__init__(FORMAT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The first line of a record."""
        return escaped(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        """The whole record: what follows its first line are lines of a traceback or a stack."""
        first, *rest = super().format(record).split("\n")
        return "\n".join([first, *(CONTINUED + escaped(line) for line in rest if line)])


def log_to_stderr(level: str) -> None:
    """Log as every process does. A wait that is not over yet is no failure, and is not logged as one."""
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter())
    logging.basicConfig(level=level, handlers=[handler])
    logging.getLogger("temporalio.activity").addFilter(_is_no_wait)


def _is_no_wait(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], NotYet))
