"""Images and rebuilds, for recordings."""

from temporalio import activity

from contract.ports.images import ImageChoice, Images, Reimage
from tests.replay.script import Script


class PlainImages(Images):
    """A Glance and a Nova that have every image."""

    def __init__(self, script: Script) -> None:
        self._script = script

    @activity.defn
    def choose_image(self, request: ImageChoice) -> str:
        self._script.play()
        return request.image or "image"

    @activity.defn
    def get_image_of(self, server_id: str) -> str:
        self._script.play()
        return "image"

    @activity.defn
    def rebuild_server(self, order: Reimage) -> None:
        self._script.play()

    @activity.defn
    def require_server_rebuilt(self, order: Reimage) -> None:
        self._script.play()
