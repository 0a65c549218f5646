"""Images for the nodes: store, registry, recipe; see README.md beside this file."""

from todoku.images.client import Images
from todoku.images.server import Server
from todoku.images.service import Config, ImageStore

__all__ = ["Config", "ImageStore", "Images", "Server"]
