"""fapvideo for ComfyUI: put this folder (or a link to it) into `custom_nodes`."""

from .nodes import FapvideoExtension, comfy_entrypoint

__all__ = ["FapvideoExtension", "comfy_entrypoint"]
