"""A small kubectl for labs on machines without one.  See README.md beside this file."""

from todoku.cli.kubectl_lib.apply import Applied, apply_file, apply_objects
from todoku.cli.kubectl_lib.catalog import Catalog, Kind, catalog
from todoku.cli.kubectl_lib.delete import delete_objects
from todoku.cli.kubectl_lib.files import read_objects
from todoku.cli.kubectl_lib.get import get_all, get_table
from todoku.cli.kubectl_lib.tables import render_table

__all__ = [
    "Applied",
    "Catalog",
    "Kind",
    "apply_file",
    "apply_objects",
    "catalog",
    "delete_objects",
    "get_all",
    "get_table",
    "read_objects",
    "render_table",
]
