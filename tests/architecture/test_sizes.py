"""Walls: how long a function and a file may be, and how much one may ask of its reader.

What stands beyond a wall is named in `BEYOND` with how far it goes. The list only shrinks: an entry may not grow, and one
that is not needed any more must go.
"""

import ast
import statistics
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.architecture.test_repository import ROOT, files

Function = ast.FunctionDef | ast.AsyncFunctionDef
BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.Match)
MEDIAN, NINE_OF_TEN = 5, 15  # lines of a function's body
WALLS = {
    "lines of a function": 40,  # without its docstring
    "parameters": 5,  # without self
    "blocks within each other": 3,
    "lines of a file": 400,
    "public names of a module": 12,  # of the product
    "modules of a folder": 25,
}
BEYOND: dict[str, dict[str, int]] = {
    "lines of a function": {
        "localcloud/compute.py create": 45,
        "tests/localcloud/test_network.py test_a_server_sends_with_no_address_but_its_own": 46,
    },
    "parameters": {
        "tests/contracts_objects/test_tickets.py test_nothing_outside_the_prefix_is_reached": 6,
        "tests/localcloud/test_network.py test_a_port_lets_in_what_its_rules_say_from_servers_and_from_the_host": 6,
        "tests/localcloud/test_network.py test_any_prefix_and_range_of_ports_lets_in_whom_it_contains_and_nobody_else": 9,
        "tests/redteam/attack_cost.py attacked": 6,
        "tests/redteam/hostile.py calls": 6,
        "tests/redteam/scenario.py call": 6,
    },
    "blocks within each other": {
        "benchmarks/memory.py modules": 4,
        "deploy/supervisor.py leftovers": 4,
        "gateway/worker_service.py _checked": 4,
        "guest_worker/calls.py _keep_settling": 5,
        "guest_worker/datastores/postgresql/accounts.py _call": 4,
        "guest_worker/datastores/postgresql/accounts.py _end_what_holds_it": 4,
        "guest_worker/datastores/postgresql/accounts.py delete_database": 4,
        "guest_worker/datastores/postgresql/accounts.py disable_root": 4,
        "guest_worker/datastores/postgresql/accounts.py revoke": 4,
        "guest_worker/host.py processes_with": 4,
        "tests/architecture/test_openapi.py test_every_success_says_all_its_members": 4,
        "tests/contracts/test_impostor.py test_another_process_on_the_socket_hears_nothing": 4,
        "tests/contracts/test_mariadb_locks.py work": 5,
        "tests/contracts/test_traps.py test_no_verb_gives_more_rights": 4,
        "tests/contracts_objects/test_tickets.py test_neither_container_nor_account_is_reached": 4,
        "tests/gateway/test_front.py ended": 4,
        "tests/localcloud/agent.py ping": 4,
        "tests/records/test_reads.py test_pages_lose_and_repeat_nothing_while_others_are_inserted": 4,
        "tests/redteam/probe.py call_on": 4,
        "tests/redteam/test_enrolment.py test_stolen_things_of_a_guest_that_is": 4,
    },
    "lines of a file": {
        "guest_worker/datastores/postgresql/accounts.py": 450,
        "localcloud/compute.py": 501,
        "localcloud/network.py": 470,
        "tests/api/test_codec_server.py": 432,
        "tests/architecture/test_compose.py": 484,
        "tests/localcloud/test_network.py": 427,
        "tests/redteam/test_floods.py": 446,
    },
    "public names of a module": {
        "api/requests.py": 14,
        "api/routes/accounts.py": 17,
        "api/views.py": 13,
        "contract/domain/errors.py": 18,
        "contract/domain/instance.py": 14,
        "contract/domain/operation.py": 20,
        "contract/ports/guest.py": 24,
        "deploy/setup.py": 22,
        "guest_worker/datastores/base.py": 13,
    },
    "modules of a folder": {
        "api": 26,
        "localcloud": 27,
        "tests/contracts": 35,
    },
}


class Size(NamedTuple):
    """How far something goes towards a wall."""

    wall: str
    place: str
    size: int


def sources() -> list[Path]:
    """Modules of ours, but for migrations: these are never edited again."""
    return [path for path in files("*.py") if "versions" not in path.parts]


def test_nothing_stands_beyond_a_wall_but_what_is_named() -> None:
    beyond = {(each.wall, each.place): each.size for each in sizes() if each.size > WALLS[each.wall]}
    allowed = {(wall, place): size for wall, places in BEYOND.items() for place, size in places.items()}
    assert {key: size for key, size in beyond.items() if size > allowed.get(key, 0)} == {}
    assert allowed.keys() - beyond.keys() == set(), "not needed any more"


def test_functions_are_short() -> None:
    lengths = sorted(each.size for each in sizes() if each.wall == "lines of a function")
    assert statistics.median(lengths) <= MEDIAN
    assert lengths[len(lengths) * 9 // 10] <= NINE_OF_TEN


@cache
def sizes() -> tuple[Size, ...]:
    """All that there is."""
    return tuple(_sizes())


def _sizes() -> Iterator[Size]:
    folders: Counter[str] = Counter()
    for path in sources():
        name, text = path.relative_to(ROOT).as_posix(), path.read_text()
        tree = ast.parse(text)
        folders[path.parent.relative_to(ROOT).as_posix()] += 1
        yield Size("lines of a file", name, text.count("\n"))
        if not name.startswith(("tests/", "benchmarks/")):
            yield Size("public names of a module", name, sum(map(_is_public, tree.body)))
        for node in ast.walk(tree):
            if isinstance(node, Function):
                yield from _of_function(name, node)
    yield from (Size("modules of a folder", folder, number) for folder, number in folders.items())


def _of_function(name: str, node: Function) -> Iterator[Size]:
    place = f"{name} {node.name}"
    yield Size("lines of a function", place, _body_lines(node))
    yield Size("parameters", place, _parameters(node))
    yield Size("blocks within each other", place, _depth(node))


def _is_public(node: ast.stmt) -> bool:
    return isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_")


def _body_lines(node: Function) -> int:
    has_more = ast.get_docstring(node) is not None and len(node.body) > 1
    return (node.end_lineno or 0) - node.body[1 if has_more else 0].lineno + 1


def _parameters(node: Function) -> int:
    names = [each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    return len([each for each in names if each not in ("self", "cls")])


def _depth(node: ast.AST) -> int:
    inner = [each for each in ast.iter_child_nodes(node) if not isinstance(each, ast.expr)]
    return max((_depth_of_child(node, each) for each in inner), default=0)


def _depth_of_child(node: ast.AST, child: ast.AST) -> int:
    if isinstance(child, Function | ast.ClassDef | ast.Lambda):
        return 0  # counted by itself
    is_elif = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
    return _depth(child) + (isinstance(child, BLOCKS) and not is_elif)
