"""The table of the red team: case, what the attacker got, what the victim did."""

from dataclasses import dataclass, field


@dataclass
class Report:
    """Lines, in the order of the cases."""

    lines: list[tuple[str, str, str]] = field(default_factory=list)
    case: str = ""

    def add(self, got: str, victim: str) -> None:
        """Tell the case that runs."""
        self.lines.append((self.case, got, victim))

    def table(self) -> str:
        """All lines, aligned."""
        lines = [("case", "the attacker got", "the victim"), *self.lines]
        widths = [min(72, max(len(line[column]) for line in lines)) for column in range(3)]
        rows = [" | ".join(text[:72].ljust(width) for text, width in zip(line, widths, strict=True)) for line in lines]
        return "\n".join([rows[0], "-+-".join("-" * width for width in widths), *rows[1:]])
