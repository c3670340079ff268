"""What tenants may set of an engine: data of each version, written by the engine itself, and how a value is checked.

Values are what JSON has; settings are the same as the engine reads them: text. The guest checks settings once more.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

DATA = Path(__file__).parent / "data"
Value = bool | int | float | str
TYPES: Mapping[str, tuple[type, ...]] = {
    "boolean": (bool,), "integer": (int,), "float": (int, float), "string": (str,),
}  # fmt: skip
# PostgreSQL's, in the smallest of each: bytes and microseconds
UNITS: Mapping[str, int] = {
    "B": 1, "kB": 2**10, "8kB": 2**13, "MB": 2**20, "GB": 2**30, "TB": 2**40,
    "us": 1, "ms": 10**3, "s": 10**6, "min": 60 * 10**6, "h": 3600 * 10**6, "d": 86400 * 10**6,
}  # fmt: skip
OF_MEMORY = frozenset({"B", "kB", "8kB", "MB", "GB", "TB"})
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of an engine; `restart`: it counts from the engine's next start.

    With `unit` a number is in that unit, and a text like `128MB` or `5min` is understood, too. `choices` are all that a text
    may be; with `several` it is a list of them, separated by commas. `memory`: the engine takes so much when it starts.
    """

    name: str
    type: str
    restart: bool = False
    minimum: int | float | None = None
    maximum: int | float | None = None
    choices: tuple[str, ...] = ()
    several: bool = False
    unit: str | None = None
    memory: bool = False

    def problem(self, value: object) -> str | None:
        """What is wrong with a value, in a sentence; None for one that the engine takes."""
        number = self._quantity(value) if self.unit and isinstance(value, str) else value
        kinds = TYPES[self.type]
        if not isinstance(number, kinds) or (isinstance(number, bool) and bool not in kinds):
            return f"The value provided for the configuration parameter {self.name} is not of type {self.type}."
        if isinstance(number, str):
            return self._problem_of_text(number)
        assert isinstance(number, int | float)  # noqa: S101 - of its kind
        if self.maximum is not None and number > self.maximum:
            return (f"The value for the configuration parameter {self.name} is greater than the maximum allowed: "
                    f"{self.maximum}")  # fmt: skip
        if self.minimum is not None and number < self.minimum:
            return f"The value for the configuration parameter {self.name} is less than the minimum allowed: {self.minimum}"
        return None

    def _problem_of_text(self, text: str) -> str | None:
        known = {each.lower() for each in self.choices}
        parts = [each.strip().lower() for each in text.split(",")] if self.several and text else [text.lower()]
        if (self.several and not text) or all(each in known for each in parts):
            return None
        shown = ", ".join(self.choices[:30]) + (", …" if len(self.choices) > 30 else "")
        several = "a list of " if self.several else ""
        return f"The value for the configuration parameter {self.name} must be {several}one of: {shown}"

    def _quantity(self, text: str) -> object:
        """A text like `128MB` as a number in this parameter's unit; as it is where it is none."""
        found = re.fullmatch(r"(-?[0-9]{1,18}) ?([A-Za-z]{1,3})", text)
        if found is None or found[2] not in UNITS or self.unit is None:
            return text
        if (found[2] in OF_MEMORY) != (self.unit in OF_MEMORY):
            return text
        number = Fraction(int(found[1]) * UNITS[found[2]], UNITS[self.unit])
        return int(number) if number.denominator == 1 else float(number) if self.type == "float" else text

    def bytes_of(self, setting: str) -> int:
        """How much memory a setting takes."""
        number = self._quantity(setting)
        return int(float(str(number))) * UNITS[self.unit or "B"]


Parameters = Mapping[str, Parameter]


@cache
def parameters_of(manager: str, version: str) -> Parameters:
    """The parameters of a version, like `10.11` or `10.11.6`; of the newest that is known for one that is not."""
    known = [path.stem.removeprefix(f"parameters-{manager}-") for path in DATA.glob(f"parameters-{manager}-*.json")]
    fitting = [each for each in known if f"{version}.".startswith(f"{each}.")]
    if not known:
        return {}
    newest = max(known, key=lambda each: [int(part) for part in each.split(".")])
    path = DATA / f"parameters-{manager}-{max(fitting, key=len) if fitting else newest}.json"
    return {each["name"]: _parameter(each) for each in json.loads(path.read_text())["parameters"]}


def _parameter(read: dict[str, object]) -> Parameter:
    choices = read.pop("choices", ())
    assert isinstance(choices, list | tuple)  # noqa: S101 - as it was written
    return Parameter(**read, choices=tuple(choices))  # type: ignore[arg-type]


def problems(values: Mapping[str, object], parameters: Parameters, version: str) -> Iterator[str]:
    """Everything that is wrong with the values of a configuration group."""
    seen: set[str] = set()
    for name, value in values.items():
        key = name.lower()
        if key in seen:
            yield f"The configuration parameter {key} is given twice."
        elif key not in parameters:
            yield f"The configuration parameter {name[:255]} is not supported for the datastore version {version}."
        elif (problem := parameters[key].problem(value)) is not None:
            yield problem
        seen.add(key)


def setting_of(value: Value) -> str:
    """A value as the engine reads it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def refusals(settings: Mapping[str, str], parameters: Parameters, memory_mib: int) -> Iterator[str]:
    """Everything that a guest of so much memory does not take of an engine's settings, whoever sends them."""
    for name, setting in settings.items():
        parameter = parameters.get(name)
        if parameter is None:
            yield f"The configuration parameter {name[:255]} is not one that may be set."
        elif (problem := parameter.problem(_value(parameter, setting))) is not None:
            yield problem
        elif parameter.memory and parameter.bytes_of(setting) > memory_mib * MIB * 3 // 4:
            yield (f"The value for the configuration parameter {name} is more than three quarters of the instance's "
                   f"memory ({memory_mib} MiB).")  # fmt: skip


def _value(parameter: Parameter, setting: str) -> object:
    """A setting as a value of its parameter's type; as it is where it is none."""
    if parameter.type == "boolean":
        return {"on": True, "off": False}.get(setting, setting)
    if parameter.type == "integer" and re.fullmatch(r"-?[0-9]{1,20}", setting):
        return int(setting)
    if parameter.type == "float" and re.fullmatch(r"-?[0-9]{1,20}(\.[0-9]{1,20})?(e[-+]?[0-9]{1,3})?", setting):
        return float(setting)
    return setting
