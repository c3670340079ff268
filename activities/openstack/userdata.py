"""The user data of a guest: one file that tells it who it is and whom to dial."""

import base64

from contract.domain.guest import BOOT_FILE, GuestBoot


def cloud_config(boot: GuestBoot) -> str:
    """Return the cloud-config as Nova wants it: base64. JSON is YAML, so nothing needs quoting."""
    content = base64.b64encode(boot.model_dump_json().encode()).decode()
    text = (
        "#cloud-config\n"
        "write_files:\n"
        f"- path: {BOOT_FILE}\n"
        "  owner: 'guest:guest'\n"
        "  permissions: '0600'\n"
        "  encoding: b64\n"
        f"  content: {content}\n"
    )
    return base64.b64encode(text.encode()).decode()
