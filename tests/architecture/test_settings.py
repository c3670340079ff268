"""docs/settings.md has each setting of the code with its default, and none else."""

import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("activities", "api", "contract", "deploy", "gateway", "guest_worker", "localcloud", "records", "workflows")
ROW = re.compile(r"^\| [^|]+ \| `([A-Z0-9_]+)` \| ([^|]*) \|", re.M)
COMPUTED = {"COFFER_HOME", "COFFER_OPEN_HOME", "LOCALCLOUD_UNPRIVILEGED"}  # their defaults depend on the machine


LIST = """
import importlib, json, re, sys, warnings
from pathlib import Path
from pydantic_settings import BaseSettings

warnings.simplefilter("ignore")
for package in {packages!r}:
    for path in Path(package).rglob("*.py"):
        if re.search(r"^class \\w+\\(\\w*Settings\\)", path.read_text(), re.M):
            importlib.import_module(".".join(path.with_suffix("").parts))
found, rest = [], [BaseSettings]
while rest:
    below = [each for each in rest.pop().__subclasses__() if each.__module__.split(".")[0] in {packages!r}]
    rest += below
    for each in below:
        prefix, file = each.model_config.get("env_prefix", ""), sys.modules[each.__module__].__file__
        for name, setting in each.model_fields.items():
            default = setting.get_default(call_default_factory=True)
            text = "none" if default is None else "empty" if default == "" else f"`{{default}}`"
            own = name in each.__annotations__
            found.append([(prefix + name).upper(), text, file if own else None, name])
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def in_code() -> list[tuple[str, str, str | None, str]]:
    """Each setting: variable, default, file where it stands, name. In a process of its own, for Swift's patches the world."""
    code = LIST.format(packages=PACKAGES)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return [(each[0], each[1], each[2], each[3]) for each in json.loads(done.stdout)]


def test_each_setting_is_on_the_page_with_its_default(in_code: list[tuple[str, str, str | None, str]]) -> None:
    page = (ROOT / "docs/settings.md").read_text()
    table = page.partition("| read by | variable | default |")[2].partition("Read by libraries")[0]
    told, code = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)
    for name, default in ROW.findall(table):
        told[name].add(default.strip())
    for name, default, _, _ in in_code:
        code[name].add(default)
    assert len(code) > 100
    assert set(told) == set(code)
    assert [(name, told[name], code[name]) for name in code if name not in COMPUTED and told[name] != code[name]] == []


def test_each_setting_says_what_it_is(in_code: list[tuple[str, str, str | None, str]]) -> None:
    silent = [
        (file, name)
        for _, _, file, name in in_code
        if file
        and not re.search(rf'^    {name}: [^\n]*\n(?:        [^\n]*\n|    \)\n)*    """', Path(file).read_text(), re.M)
    ]
    assert silent == []
