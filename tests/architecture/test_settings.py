"""docs/settings.md has each setting of the code with its default, and none else."""

import importlib
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from pydantic_settings import BaseSettings

ROOT = Path(__file__).parents[2]
PACKAGES = ("activities", "api", "deploy", "gateway", "guest_worker", "localcloud", "records", "workflows")
ROW = re.compile(r"^\| [^|]+ \| `([A-Z0-9_]+)` \| ([^|]*) \|", re.M)
COMPUTED = {"COFFER_HOME", "COFFER_OPEN_HOME", "LOCALCLOUD_UNPRIVILEGED"}  # their defaults depend on the machine


def classes() -> list[type[BaseSettings]]:
    """Every class of settings; those that only others inherit from are read through them."""
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            if re.search(r"^class \w+\(\w*Settings\)", path.read_text(), re.M):
                importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    found, rest = set[type[BaseSettings]](), [BaseSettings]
    while rest:
        below = [each for each in rest.pop().__subclasses__() if each.__module__.split(".")[0] in PACKAGES]
        found.update(below)
        rest += below
    return sorted(found, key=lambda each: each.__name__)


def written(default: Any) -> str:
    """A default as the page has it."""
    if default is None or default == "":
        return "none" if default is None else "empty"
    return f"`{default}`"


def in_code() -> dict[str, set[str]]:
    """Each variable, with its defaults: a few have another one in another process."""
    found = defaultdict[str, set[str]](set)
    for each in classes():
        prefix = each.model_config.get("env_prefix", "")
        for name, setting in each.model_fields.items():
            found[f"{prefix}{name}".upper()].add(written(setting.get_default(call_default_factory=True)))
    return found


def test_each_setting_is_on_the_page_with_its_default() -> None:
    page = (ROOT / "docs/settings.md").read_text()
    table = page.partition("| read by | variable | default |")[2].partition("Read by libraries")[0]
    told = defaultdict[str, set[str]](set)
    for name, default in ROW.findall(table):
        told[name].add(default.strip())
    code = in_code()
    assert len(classes()) > 8
    assert set(told) == set(code)
    assert [(name, told[name], code[name]) for name in code if name not in COMPUTED and told[name] != code[name]] == []


@pytest.mark.parametrize("settings", classes(), ids=lambda each: each.__name__)
def test_each_setting_says_what_it_is(settings: type[BaseSettings]) -> None:
    module = importlib.import_module(settings.__module__)
    text = Path(str(module.__file__)).read_text()
    for name in settings.__annotations__:
        if name != "model_config":
            assert re.search(rf'^    {name}: [^\n]*(?:\n        [^\n]*|\n    \))*\n    """', text, re.M), name
