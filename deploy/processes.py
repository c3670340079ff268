"""The processes of the stack, as the supervisor starts them."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from deploy import postgres, temporal
from deploy.settings import HERE, StackSettings

MARKER = "COFFER_STACK"  # in every process's environment: whose it is, for leftovers to be found


@dataclass(frozen=True)
class Program:
    """One process."""

    name: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    user: str | None = None
    stop_signal: str = "TERM"
    stop_seconds: int = 30


def programs(settings: StackSettings) -> list[Program]:
    """All processes, in the order in which they start."""
    ours, around = str(settings.control_python), str(settings.embedded_python)
    shared = control_environment(settings)
    embedded = [
        Program("keystone", [around, "-m", "localcloud.keystone"], _keystone(settings)),
        Program("swift", [around, "-m", "localcloud.swift"], _swift(settings)),
        Program("localcloud", [around, "-m", "localcloud"], _localcloud(settings), stop_seconds=60),
    ]
    return [
        Program("postgresql", postgres.command(settings), user=settings.records_user, stop_signal="INT"),
        Program("temporal", _temporal(settings)),
        *([] if settings.openstack else embedded),
        Program("codec-server", [ours, "-m", "api.codec_server"], shared),
        Program("workflow-worker", [ours, "-m", "workflows"], shared),
        Program("activity-worker", [ours, "-m", "activities"], shared),
        # asked from here, for the health check
        Program(
            "api", [ours, "-m", "api"], {**shared, "COFFER_GUEST_GATEWAY": f"{settings.host}:{settings.gateway_port}"}
        ),
        Program("gateway", [ours, "-m", "gateway"], _gateway(settings)),
    ]


def _temporal(settings: StackSettings) -> list[str]:
    command = temporal.command(
        temporal.binary(settings.embedded_python),
        settings.home / "temporal/temporal.db",
        port=settings.temporal_port,
        metrics_port=settings.temporal_metrics_port,
        ui=(settings.ui_port, settings.codec_port),
    )
    return command if settings.wait_for_disk else [*command, *temporal.FORGETFUL]


def _keystone(settings: StackSettings) -> dict[str, str]:
    return {
        "LOCALCLOUD_KEYSTONE_STATE": str(settings.home / "keystone"),
        "LOCALCLOUD_KEYSTONE_PORT": str(settings.keystone_port),
        "LOCALCLOUD_KEYSTONE_PASSWORD_FILE": str(settings.secrets / "admin"),
        "LOCALCLOUD_KEYSTONE_SEED": str(settings.run / "keystone-seed.yaml"),
    }


def _swift(settings: StackSettings) -> dict[str, str]:
    return {
        "LOCALCLOUD_SWIFT_STATE": str(settings.home / "swift"),
        "LOCALCLOUD_SWIFT_PORT": str(settings.swift_port),
        "LOCALCLOUD_SWIFT_KEYSTONE": settings.keystone_url,
        "LOCALCLOUD_SWIFT_PASSWORD_FILE": str(settings.secrets / "admin"),
    }


def _gateway(settings: StackSettings) -> dict[str, str]:
    """All that the gateway needs: neither the master key nor OpenStack."""
    others = ("COFFER_MASTER_KEY_FILE", "COFFER_CLOUD", "OS_CLIENT_CONFIG_FILE")
    shared = {name: value for name, value in control_environment(settings).items() if name not in others}
    folder = gateway_folder(settings)
    return {
        **shared,
        "COFFER_GUEST_KEY_FILE": str(guest_key_file(settings)),
        "COFFER_GATEWAY_HOST": settings.host,
        "COFFER_GATEWAY_PORT": str(settings.gateway_port),
        "COFFER_GATEWAY_CERT": str(folder / "cert.pem"),
        "COFFER_GATEWAY_KEY": str(folder / "key.pem"),
        "COFFER_GATEWAY_CA": str(folder / "ca.pem"),
    }


def gateway_folder(settings: StackSettings) -> Path:
    """Where the gateway's certificates are."""
    return settings.secrets / "gateway"


def guest_key_file(settings: StackSettings) -> Path:
    """The guests' branch of the master keys."""
    return settings.secrets / "guests.key"


def _localcloud(settings: StackSettings) -> dict[str, str]:
    gateway = f"{settings.gateway_for_guests}:{settings.gateway_port}=127.0.0.1:{settings.gateway_port}"
    swift = f"{settings.gateway_for_guests}:{settings.swift_port}=127.0.0.1:{settings.swift_port}"  # for published logs
    return {
        **said_to_us("LOCALCLOUD_"),
        "LOCALCLOUD_STATE": str(settings.open_home / "cloud"),
        "LOCALCLOUD_DATABASE": str(settings.home / "cloud.db"),
        "LOCALCLOUD_IMAGES": str(settings.image_folder),
        "LOCALCLOUD_PORT": str(settings.localcloud_port),
        "LOCALCLOUD_KEYSTONE": settings.keystone_url,
        "LOCALCLOUD_PASSWORD_FILE": str(settings.secrets / "admin"),
        "LOCALCLOUD_ENDPOINTS": ",".join(each for each in (gateway, swift, settings.guest_endpoints) if each),
        "LOCALCLOUD_FIRST_UID": str(settings.first_uid),
        "LOCALCLOUD_SERVER_DELAY": str(settings.server_delay),
        "LOCALCLOUD_VOLUME_DELAY": str(settings.volume_delay),
    }


def said_to_us(prefix: str) -> dict[str, str]:
    """Settings in the caller's environment: `COFFER_QUOTA_INSTANCES=50 make up` counts."""
    return {name: value for name, value in os.environ.items() if name.startswith(prefix) and '"' not in value}


def control_environment(settings: StackSettings) -> dict[str, str]:
    """What our own processes are told."""
    site = settings.openstack
    return {
        **{f"COFFER_RATE_{verb}": "0" for verb in ("GET", "POST", "PUT", "PATCH", "DELETE")},  # one user, one machine
        **said_to_us("COFFER_"),
        "COFFER_TEMPORAL_ADDRESS": f"127.0.0.1:{settings.temporal_port}",
        "COFFER_TEMPORAL_NAMESPACE": temporal.NAMESPACE,
        "COFFER_MASTER_KEY_FILE": str(settings.secrets / "master.key"),
        "COFFER_RECORDS_URL": f"postgresql+psycopg://coffer@127.0.0.1:{settings.records_port}/coffer",
        "PGPASSFILE": str(settings.secrets / "pgpass"),
        "OS_CLIENT_CONFIG_FILE": str(settings.secrets / "clouds.yaml"),
        "COFFER_CLOUD": "coffer",
        "COFFER_GUEST_GATEWAY": f"{settings.gateway_for_guests}:{settings.gateway_port}",
        "COFFER_GUEST_GATEWAY_CA": str(gateway_folder(settings) / "ca.pem"),
        **(
            {} if site else {"COFFER_OBJECTS_FOR_GUESTS": f"http://{settings.gateway_for_guests}:{settings.swift_port}"}
        ),
        "COFFER_DEFAULT_NETWORK": site.network if site else "databases",
        "COFFER_EXTERNAL_NETWORK": site.external if site else "public",
        "COFFER_DEFAULT_DATASTORE": "mariadb",
        "COFFER_KEYSTONE_URL": settings.keystone_url,
        **({} if site else {"COFFER_BARBICAN_URL": f"http://127.0.0.1:{settings.localcloud_port}/key-manager"}),
        "COFFER_REGION": settings.region,
        "COFFER_API_HOST": settings.host,
        "COFFER_API_PORT": str(settings.api_port),
        "COFFER_CODEC_PORT": str(settings.codec_port),
        "COFFER_CODEC_ORIGINS": f"http://127.0.0.1:{settings.ui_port},http://localhost:{settings.ui_port}",
    }


def base_environment(settings: StackSettings) -> dict[str, str]:
    """What every process of the stack is told; nothing of the caller's environment but what it needs to run at all."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TZ", "HOME") if name in os.environ}
    return {
        **kept,
        "PYTHONPATH": str(HERE),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        MARKER: str(settings.home),
    }


def write_configuration(settings: StackSettings) -> Path:
    """Write supervisord.conf; return its path."""
    settings.log.mkdir(parents=True, exist_ok=True)
    lines = [
        "[unix_http_server]",
        f"file={socket_path(settings)}",
        "chmod=0700",
        "[supervisord]",
        f"logfile={settings.log / 'supervisor.log'}",
        "logfile_maxbytes=5MB",
        "logfile_backups=2",
        f"pidfile={settings.run / 'supervisord.pid'}",
        f"childlogdir={settings.log}",
        "loglevel=info",
        *(["user=root"] if os.geteuid() == 0 else []),
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
        "[supervisorctl]",
        f"serverurl=unix://{socket_path(settings)}",
    ]
    for program in programs(settings):
        lines += _section(settings, program)
    path = settings.run / "supervisord.conf"
    path.write_text("\n".join([*lines, ""]))
    path.chmod(0o600)
    return path


def socket_path(settings: StackSettings) -> Path:
    """The supervisor's socket: in the state, or beside it where that path is too long for a socket."""
    path = settings.run / "supervisor.sock"
    return path if len(str(path)) < 90 else Path(f"/tmp/coffer-{os.geteuid()}-{settings.first_uid}/supervisor.sock")


def _section(settings: StackSettings, program: Program) -> list[str]:
    environment = {**base_environment(settings), **program.environment}
    written = ",".join(f'{name}="{_escaped(value)}"' for name, value in environment.items())
    return [
        f"[program:{program.name}]",
        f"command={' '.join(_quoted(word) for word in program.command)}",
        f"directory={HERE if program.user is None else '/'}",
        f"environment={written}",
        "autostart=false",
        "autorestart=true",
        "startsecs=1",
        "startretries=100000",
        f"stopsignal={program.stop_signal}",
        f"stopwaitsecs={program.stop_seconds}",
        "redirect_stderr=true",
        f"stdout_logfile={settings.log / program.name}.log",
        "stdout_logfile_maxbytes=10MB",
        "stdout_logfile_backups=3",
        *([f"user={program.user}"] if program.user else []),
    ]


def _escaped(value: str) -> str:
    if '"' in value:
        raise ValueError(f"a setting may not contain a quote: {value}")  # the supervisor's own format cannot say it
    return value.replace("%", "%%")


def _quoted(word: str) -> str:
    return "'" + word.replace("%", "%%") + "'" if any(each in word for each in ' ;%"') else word
