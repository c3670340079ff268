"""`python -m deploy.upload --cloud CLOUD IMAGE.qcow2`: give Glance an image that `python -m guest_worker.image --nova` made.

`CLOUD` is a name in clouds.yaml. Name, tags and what a flavor must have come from the file beside the image; an image of
the same content is left as it is. The catalogue names an image by its tags: the newest that has all of them is taken.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import openstack

DIGEST = "coffer_sha256"  # the image's property that tells its content
SOFTWARE = "coffer_sbom_sha256"  # the one that tells its list of software, which is beside the image and not in Glance


class WrongImage(Exception):
    """The file is not what its description says."""


def upload(conn: Any, image: Path) -> str:
    """Return the id of the image in Glance, uploaded unless it is there."""
    wanted = json.loads(image.with_suffix(".json").read_text())
    digest = wanted.pop("sha256")
    with image.open("rb") as content:
        if hashlib.file_digest(content, "sha256").hexdigest() != digest:
            raise WrongImage(f"{image} is not the file that {image.stem}.json describes: build it again")
    for each in conn.image.images(name=wanted["name"], status="active"):
        if each.properties.get(DIGEST) == digest:
            return str(each.id)
    software = hashlib.sha256(image.with_suffix(".sbom.json").read_bytes()).hexdigest()
    properties = {**wanted.pop("properties"), DIGEST: digest, SOFTWARE: software}
    made = conn.image.create_image(filename=str(image), allow_duplicates=True, wait=True, visibility="private",
                                   **wanted, **properties)  # fmt: skip
    return str(made.id)


def main() -> None:
    """Do what the command line says; print the image's id."""
    ask = argparse.ArgumentParser(prog="python -m deploy.upload", description=__doc__)
    ask.add_argument("--cloud", required=True, help="name in clouds.yaml, of the service's project")
    ask.add_argument("image", type=Path)
    said = ask.parse_args()
    try:
        sys.stdout.write(f"{upload(openstack.connect(cloud=said.cloud), said.image)}\n")
    except (WrongImage, OSError) as error:
        sys.exit(f"cannot upload the image: {error}")


if __name__ == "__main__":
    main()
