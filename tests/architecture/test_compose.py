"""docker-compose.yml and the Dockerfile agree with the code, and what they mount works on the real servers."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from cryptography import x509
from pydantic_settings import BaseSettings
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.client import Client

from activities.settings import ActivitySettings
from api.settings import ApiSettings, CodecServerSettings
from contract.keys.keyring import GuestsKeyring, MasterKeyring
from contract.settings import TemporalSettings
from contract.wire.client import SEARCH_ATTRIBUTES
from deploy import postgres, temporal
from deploy.compose import namespace
from gateway.settings import GatewaySettings
from records.settings import RecordsSettings
from tests.temporal import free_port, temporal_server

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy/compose"
IMAGE = "coffer:0.4.0"
READ_BY: dict[str, tuple[type[BaseSettings], ...]] = {
    "api": (ApiSettings, RecordsSettings),
    "workflow-worker": (TemporalSettings,),
    "activity-worker": (ActivitySettings, RecordsSettings),
    "gateway": (GatewaySettings, RecordsSettings),
    "codec-server": (CodecServerSettings,),
    "namespace": (TemporalSettings,),
    "records": (RecordsSettings,),
}
LIBRARIES = {"PGSERVICE", "PGSERVICEFILE", "OS_CLIENT_CONFIG_FILE"}
VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)(?::([-?])([^}]*))?\})")
EXAMPLE = dict(
    line.split("=", 1) for line in (FOLDER / ".env.example").read_text().splitlines() if re.match(r"\w+=", line)
)


def filled_in(text: str, variables: dict[str, str]) -> str:
    """Do what Compose does with `${NAME:-default}`, `${NAME:?message}` and `$$`."""

    def value(found: re.Match[str]) -> str:
        dollar, name, kind, rest = found.groups()
        if dollar or variables.get(name):
            return dollar or variables[name]
        if kind == "?":
            raise KeyError(f"{name} {rest}")
        return rest or ""

    return VARIABLE.sub(value, text)


COMPOSE: dict[str, Any] = yaml.safe_load(filled_in((ROOT / "docker-compose.yml").read_text(), EXAMPLE))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = sorted(READ_BY)


def compose_program() -> list[str] | None:
    """`docker compose` or `docker-compose`, whichever works here."""
    for words in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(words[0]) and subprocess.run([*words, "version"], capture_output=True).returncode == 0:
            return words
    return None


@pytest.fixture(scope="module")
def secrets() -> Iterator[Path]:
    """Secrets as the script makes them; below /tmp, for PostgreSQL's user must reach them as its container would."""
    with tempfile.TemporaryDirectory(prefix="coffer-compose-") as made:
        make_secrets(Path(made) / "secrets", "192.0.2.10")
        Path(made).chmod(0o755)
        yield Path(made) / "secrets"


def make_secrets(folder: Path, *arguments: str) -> None:
    """Run the script as an operator does, but for the image: there is no Docker here."""
    shell("make-secrets.sh", folder, *arguments)


def shell(script: str, folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "COFFER_SECRETS": str(folder), "COFFER_PYTHON": sys.executable}
    return subprocess.run(["sh", str(FOLDER / script), *arguments], check=True, env=environment, cwd="/",
                          stdout=subprocess.PIPE, text=True).stdout  # fmt: skip


def test_compose_itself_takes_the_file() -> None:
    program = compose_program()
    if program is None:
        pytest.skip("neither `docker compose` nor `docker-compose` works here")
    words = [
        *program,
        "--env-file",
        str(FOLDER / ".env.example"),
        "-f",
        str(ROOT / "docker-compose.yml"),
        "config",
        "-q",
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_file_asks_for_what_has_no_default_and_for_nothing_else() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    needed = {name for _, name, kind, _ in VARIABLE.findall(text) if kind == "?"}
    assert needed == {"COFFER_KEYSTONE_URL", "COFFER_GUEST_GATEWAY"}
    for name in needed:
        with pytest.raises(KeyError, match=name):
            filled_in(text, {key: value for key, value in EXAMPLE.items() if key != name})


def test_the_example_environment_names_every_variable_with_its_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    defaults = {name: rest for _, name, kind, rest in VARIABLE.findall(text) if kind == "-"}
    lines = (FOLDER / ".env.example").read_text().splitlines()
    optional = dict(line[1:].split("=", 1) for line in lines if re.match(r"#\w+=", line))
    assert optional == {name: value for name, value in defaults.items() if name not in EXAMPLE}
    assert set(EXAMPLE) - set(defaults) == {"COFFER_KEYSTONE_URL", "COFFER_GUEST_GATEWAY"}


def test_a_default_of_the_file_is_the_settings_own() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    settings = {f"COFFER_{name.upper()}": field.default for each in set(sum(READ_BY.values(), ()))
                for name, field in each.model_fields.items()}  # fmt: skip
    for _, name, kind, rest in VARIABLE.findall(text):
        if kind == "-" and name in settings:
            assert rest == str(settings[name]), name


def test_every_service_that_runs_our_image_is_known_here() -> None:
    assert sorted(name for name, service in SERVICES.items() if service["image"] == IMAGE) == OURS
    assert f'version = "{IMAGE.partition(":")[2]}"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize("name", OURS)
def test_every_variable_of_our_services_is_a_setting_that_they_read(name: str) -> None:
    known = {f"COFFER_{field.upper()}" for each in READ_BY[name] for field in each.model_fields}
    assert set(SERVICES[name]["environment"]) - LIBRARIES - known == set()


@pytest.mark.parametrize("name", OURS)
def test_the_settings_accept_what_our_services_are_given(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {key: str(value) for key, value in SERVICES[name]["environment"].items()}
    for key, value in given.items():
        monkeypatch.setenv(key, value)
    for each in READ_BY[name]:
        settings = each()
        for field in each.model_fields:
            if f"COFFER_{field.upper()}" in given:
                assert str(getattr(settings, field)) == given[f"COFFER_{field.upper()}"]


@pytest.mark.parametrize("name", OURS)
def test_whoever_reads_the_records_or_payloads_is_given_what_opens_them(name: str) -> None:
    environment, secrets = SERVICES[name]["environment"], SERVICES[name].get("secrets", [])
    assert ("records-service" in secrets) == (RecordsSettings in READ_BY[name]) == ("PGSERVICEFILE" in environment)
    assert ("master-key" in secrets) == ("COFFER_MASTER_KEY_FILE" in environment)
    assert ("clouds.yaml" in secrets) == (ActivitySettings in READ_BY[name]) == ("OS_CLIENT_CONFIG_FILE" in environment)
    assert ("guests.key" in secrets) == ("COFFER_GUEST_KEY_FILE" in environment) == (name == "gateway")
    assert ("master-key" in secrets) == (name not in ("namespace", "records", "gateway"))


def test_the_gateway_has_nothing_that_it_does_not_need() -> None:
    secrets = {"guests.key", "records-service", "gateway-cert.pem", "gateway-key.pem", "gateway-ca.pem"}
    assert set(SERVICES["gateway"]["secrets"]) == secrets
    assert not {"COFFER_MASTER_KEY_FILE", "OS_CLIENT_CONFIG_FILE"} & set(SERVICES["gateway"]["environment"])
    for name, service in SERVICES.items():
        if name != "gateway":
            assert not {"gateway-key.pem", "guests.key"} & set(service.get("secrets", [])), name
    assert "ca-key.pem" not in (ROOT / "docker-compose.yml").read_text()


def test_guests_are_told_of_the_gateway_and_of_its_ca() -> None:
    told = SERVICES["activity-worker"]["environment"]
    assert told["COFFER_GUEST_GATEWAY"].endswith(f":{SERVICES['gateway']['environment']['COFFER_GATEWAY_PORT']}")
    assert told["COFFER_GUEST_GATEWAY_CA"] == SERVICES["gateway"]["environment"]["COFFER_GATEWAY_CA"]


def test_both_who_use_quotas_are_given_the_same() -> None:
    quotas = [{key: value for key, value in SERVICES[name]["environment"].items() if key.startswith("COFFER_QUOTA_")}
              for name in ("api", "activity-worker")]  # fmt: skip
    assert quotas[0] == quotas[1] != {}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_refers_only_to_what_is_defined(name: str) -> None:
    service = SERVICES[name]
    secrets = service.get("secrets", [])
    assert set(secrets) <= set(COMPOSE["secrets"])
    assert set(service["networks"]) <= set(COMPOSE["networks"])
    for other, wanted in service.get("depends_on", {}).items():
        assert_reachable(other, wanted["condition"])
    for source in (each.split(":")[0] for each in service.get("volumes", [])):
        assert (ROOT / source).is_file() if source.startswith(".") else source in COMPOSE["volumes"]
    mentioned = set(re.findall(r"/run/secrets/([\w.-]+)", yaml.safe_dump(service)))
    assert mentioned == set(secrets)


def assert_reachable(name: str, condition: str) -> None:
    """A condition that can come true: a health check to pass, or a process that ends."""
    if condition == "service_healthy":
        assert "healthcheck" in SERVICES[name]
    else:
        assert condition == "service_completed_successfully"
        assert SERVICES[name]["restart"] == "no"


def test_hosts_named_in_environments_are_services_on_a_network_of_both() -> None:
    for name, service in SERVICES.items():
        text = " ".join(str(each) for each in service.get("environment", {}).values())
        hosts = {"temporal"} if "temporal:7233" in text else set()
        hosts |= {"postgresql"} if re.search(r"@postgresql:|(^| )postgresql( |$)", text) else set()
        for host in hosts:
            assert set(service["networks"]) & set(SERVICES[host]["networks"]), (name, host)


def test_every_definition_is_used() -> None:
    for kind in ("secrets", "networks"):
        assert {each for service in SERVICES.values() for each in service.get(kind, [])} == set(COMPOSE[kind])


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_an_image_is_pinned_and_logs_are_bounded(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"[\w./-]+:\d[\w.-]*", service["image"])
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}
    assert service["restart"] in ("no", "unless-stopped")


def test_the_parts_of_temporal_are_of_one_release() -> None:
    assert SERVICES["temporal"]["image"].partition(":")[2] == SERVICES["temporal-schema"]["image"].partition(":")[2]


def test_what_asks_for_no_login_is_published_on_loopback_alone() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {
        "api": ["0.0.0.0:8779:8779"],
        "codec-server": ["127.0.0.1:8234:8234"],
        "gateway": ["0.0.0.0:7236:7236"],
        "temporal": ["127.0.0.1:7233:7233"],
        "temporal-ui": ["127.0.0.1:8233:8233"],
    }


def test_nobody_shares_a_network_with_the_codec_server() -> None:
    for name, service in SERVICES.items():
        if name != "codec-server":
            assert not set(service["networks"]) & set(SERVICES["codec-server"]["networks"]), name


def test_nobody_reaches_postgresql_but_who_needs_it() -> None:
    assert SERVICES["postgresql"]["networks"] == ["data"]
    assert COMPOSE["networks"]["data"] == {"internal": True}
    users = {name for name, service in SERVICES.items() if "data" in service["networks"]}
    assert users == {"postgresql", "temporal-schema", "temporal", "records", "api", "activity-worker", "gateway"}


def test_the_web_ui_and_the_codec_server_know_each_other() -> None:
    ui, codec = SERVICES["temporal-ui"]["environment"], SERVICES["codec-server"]["environment"]
    assert ui["TEMPORAL_CODEC_ENDPOINT"] == f"http://127.0.0.1:{codec['COFFER_CODEC_PORT']}"
    assert f"http://127.0.0.1:{ui['TEMPORAL_UI_PORT']}" in codec["COFFER_CODEC_ORIGINS"].split(",")
    assert ui["TEMPORAL_CODEC_INCLUDE_CREDENTIALS"] == "true"
    assert ui["TEMPORAL_CODEC_DEFAULT_ERROR_LINK"] == f"{ui['TEMPORAL_CODEC_ENDPOINT']}/login"


def test_the_codec_server_asks_the_keystone_that_the_api_asks() -> None:
    assert (
        SERVICES["codec-server"]["environment"]["COFFER_KEYSTONE_URL"]
        == SERVICES["api"]["environment"]["COFFER_KEYSTONE_URL"]
    )


def test_health_checks_ask_for_what_needs_no_login() -> None:
    # the API's own health check names every part: one that is away is no reason to end an API that reads still work of
    for name, path in (("api", ":8779/'"), ("codec-server", "/healthcheck'")):
        assert path in SERVICES[name]["healthcheck"]["test"][-1]


def test_temporal_has_the_settings_that_the_development_server_has() -> None:
    there = yaml.safe_load((FOLDER / "temporal/dynamicconfig.yaml").read_text())
    wanted = {
        key: [{"value": yaml.safe_load(value)}] for key, value in (each.split("=", 1) for each in temporal.SETTINGS)
    }
    assert there == wanted


def test_the_image_holds_all_that_its_processes_import(tmp_path: Path) -> None:
    lay_out_image(tmp_path)
    commands = [SERVICES[name]["command"] for name in OURS]
    assert all(words[:2] == ["python", "-m"] for words in commands)
    modules = [words[2] for words in commands]
    modules = [each if (tmp_path / f"{each.replace('.', '/')}.py").exists() else f"{each}.__main__" for each in modules]
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"import {', '.join(modules)}; import api; print(api.__file__)"],
        cwd="/", env={"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "api/__init__.py")
    assert (tmp_path / "records/migrations/versions/0001_spine.py").exists()
    assert sorted(each.name for each in (tmp_path / "deploy").iterdir()) == ["__init__.py", "compose"]


def lay_out_image(folder: Path) -> None:
    """Copy what the Dockerfile copies into its working directory, of what .dockerignore lets through."""
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    sources = re.findall(r"^COPY (\S+) (?:\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    for source in sources:
        let_through = [each for each in allowed if each == source or each.startswith(f"{source}/")]
        assert let_through, f"{source} is copied, and .dockerignore keeps it out"
        for each in let_through:
            (folder / each).parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (ROOT / each).is_dir() else shutil.copy
            copy(ROOT / each, folder / each)


def test_the_image_is_built_from_hashes_and_does_not_run_as_root() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert any("pip install --require-hashes" in line for line in lines)
    assert [line for line in lines if line.startswith("USER ")] == ["USER 10001:10001"]
    assert [line for line in lines if line.startswith("FROM ")] == ["FROM python:3.12-slim"]


def test_secrets_are_made_once_and_their_folder_is_its_owners_alone(secrets: Path) -> None:
    made = contents(secrets)
    mounted = {each["file"].removeprefix("./deploy/compose/secrets/") for each in COMPOSE["secrets"].values()}
    assert set(made) == mounted - {"clouds.yaml"} | {"gateway/ca-key.pem"}
    assert len(set(made.values())) == len(made)
    assert secrets.stat().st_mode & 0o777 == 0o700
    modes = {name: (secrets / name).stat().st_mode & 0o777 for name in made}
    assert modes == {name: 0o600 if name == "gateway/ca-key.pem" else 0o444 for name in made}
    assert len(MasterKeyring.read(secrets / "master-key").key("c:1")) == 32
    for arguments in (["192.0.2.10"], []):
        make_secrets(secrets, *arguments)
        assert contents(secrets) == made


def contents(folder: Path) -> dict[str, str]:
    """Every file of a folder, by its path below it."""
    return {str(each.relative_to(folder)): each.read_text() for each in folder.rglob("*") if each.is_file()}


def test_the_keys_of_gateway_and_control_plane_agree_also_after_a_rotation(secrets: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="coffer-compose-") as made:
        copy = Path(made) / "secrets"
        shutil.copytree(secrets, copy)
        for verbs in ([], ["add"], ["use", "2"], ["forget", "1"]):
            if verbs:
                shell("tool.sh", copy, "contract.keys", *verbs)
            master, guests = MasterKeyring.read(copy / "master-key"), GuestsKeyring.read(copy / "guests.key")
            assert master.current == guests.current
            assert master.key(f"e:{master.current}") == guests.key(f"e:{master.current}")
            assert {(copy / name).stat().st_mode & 0o777 for name in ("master-key", "guests.key")} == {0o444}
        assert master.current == 2


def test_the_health_check_of_the_gateway_trusts_the_certificate_that_was_made(secrets: Path) -> None:
    found = x509.load_pem_x509_certificate((secrets / "gateway/cert.pem").read_bytes())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.10", "127.0.0.1"]
    assert SERVICES["gateway"]["healthcheck"]["test"] == ["CMD", "python", "-m", "gateway", "check"]


def test_the_scripts_are_sound_shell() -> None:
    for each in (FOLDER / "make-secrets.sh", FOLDER / "tool.sh", FOLDER / "temporal/schema.sh"):
        subprocess.run(["sh", "-n", str(each)], check=True)


@contextmanager
def postgresql(folder: Path) -> Iterator[int]:
    """A PostgreSQL as the image has it: scram over TCP, a superuser `postgres`. Yields its port."""
    who: dict[str, Any] = {"user": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    data, port, password = folder / "data", free_port(), folder / "password"
    data.mkdir()
    password.write_text("boss")
    if who:
        shutil.chown(data, "postgres")
    subprocess.run([str(postgres.programs() / "initdb"), "-D", str(data), "-U", "postgres", f"--pwfile={password}",
                    "--auth=scram-sha-256"], check=True, cwd="/", stdout=subprocess.DEVNULL, **who)  # fmt: skip
    server = subprocess.Popen(
        [str(postgres.programs() / "postgres"), "-D", str(data), "-p", str(port), "-c", "listen_addresses=127.0.0.1",
         "-c", "unix_socket_directories="], cwd="/", stderr=subprocess.DEVNULL, **who,
    )  # fmt: skip
    try:
        wait_for(port)
        yield port
    finally:
        server.terminate()
        server.wait(timeout=30)


def wait_for(port: int) -> None:
    for _ in range(200):
        try:
            connect(port, "postgres", "boss", "postgres").close()
        except psycopg.OperationalError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError("PostgreSQL did not come up")


def connect(port: int, user: str, password: str, database: str) -> psycopg.Connection:
    return psycopg.connect(host="127.0.0.1", port=port, user=user, password=password, dbname=database, autocommit=True)


def test_postgresql_gets_its_databases_and_the_records_their_password(secrets: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="coffer-compose-") as made:
        Path(made).chmod(0o755)
        with postgresql(Path(made)) as port:
            make_databases(port, secrets)
            assert_temporal_may_make_its_schema(port, secrets)
            for verb in ("upgrade", "upgrade", "check"):
                records(verb, port, secrets / "records-service")
            wrong = Path(made) / "service"
            wrong.write_text("[coffer]\npassword=wrong\n")
            with pytest.raises(subprocess.CalledProcessError):
                records("check", port, wrong)


def make_databases(port: int, secrets: Path) -> None:
    """Run the file as the image does."""
    given = SERVICES["postgresql"]["environment"]
    files = {key: given[key].replace("/run/secrets", str(secrets)) for key in given if key.endswith("_PASSWORD_FILE")}
    subprocess.run(
        [str(postgres.programs() / "psql"), "-v", "ON_ERROR_STOP=1", "--no-psqlrc", "-h", "127.0.0.1", "-p", str(port),
         "-U", "postgres", "-d", "postgres", "-f", str(FOLDER / "postgresql/databases.sql")],
        check=True, env={"PATH": os.environ["PATH"], "PGPASSWORD": "boss", **files}, stdout=subprocess.DEVNULL,
    )  # fmt: skip


def assert_temporal_may_make_its_schema(port: int, secrets: Path) -> None:
    """Temporal's visibility schema begins with an extension; and its role has no business in the records."""
    password = (secrets / "temporal-password").read_text()
    for database in ("temporal", "temporal_visibility"):
        with connect(port, "temporal", password, database) as connection:
            connection.execute("CREATE EXTENSION btree_gin")
            connection.execute("CREATE TABLE schema_version (version_partition INT)")
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        connect(port, "temporal", password, "coffer")


def records(verb: str, port: int, service: Path) -> None:
    """`python -m records` with the environment that docker-compose.yml gives it, on this server."""
    given = {key: str(value) for key, value in SERVICES["records"]["environment"].items()}
    url = given["COFFER_RECORDS_URL"].replace("@postgresql:5432", f"@127.0.0.1:{port}")
    environment = {**given, "COFFER_RECORDS_URL": url, "PGSERVICEFILE": str(service), "PYTHONPATH": str(ROOT)}
    subprocess.run(
        [sys.executable, "-m", "records", verb], check=True, cwd="/", env=environment, stderr=subprocess.DEVNULL
    )


def test_temporal_gets_its_namespace_and_its_search_attributes_once(tmp_path: Path) -> None:
    assert tuple(each.name for each in SEARCH_ATTRIBUTES) == temporal.ATTRIBUTES
    assert SERVICES["namespace"]["environment"]["COFFER_TEMPORAL_NAMESPACE"] == temporal.NAMESPACE
    with temporal_server(tmp_path, MasterKeyring.of(bytes(32))) as server:
        given = {"COFFER_TEMPORAL_ADDRESS": server.address, "COFFER_TEMPORAL_NAMESPACE": "fresh"}
        for _ in range(2):
            subprocess.run([sys.executable, "-m", "deploy.compose.namespace"], check=True, cwd=ROOT, timeout=60,
                           env={**os.environ, **given}, stderr=subprocess.DEVNULL)  # fmt: skip
        there = asyncio.run(attributes(server.address, "fresh"))
    assert {name: there[name] for name in temporal.ATTRIBUTES} == dict.fromkeys(temporal.ATTRIBUTES, namespace.KEYWORD)


async def attributes(address: str, name: str) -> dict[str, int]:
    """The search attributes that a namespace has, by type."""
    client = await Client.connect(address, namespace=name)
    found = await client.operator_service.list_search_attributes(ListSearchAttributesRequest(namespace=name))
    return dict(found.custom_attributes)
