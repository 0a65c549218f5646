"""Requests to the API server, caches that follow it, and Events.  See README.md beside this file."""

from todoku.client.client import Client, ObjectList, WatchEvent
from todoku.client.config import ClientConfig
from todoku.client.http import Response, Unreachable
from todoku.client.informer import Informer, InformerFactory
from todoku.client.recorder import EventRecorder
from todoku.client.series import SeriesRecorder

__all__ = [
    "Client",
    "ClientConfig",
    "EventRecorder",
    "Informer",
    "InformerFactory",
    "ObjectList",
    "Response",
    "SeriesRecorder",
    "Unreachable",
    "WatchEvent",
]
