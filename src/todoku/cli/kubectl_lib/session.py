"""What every command has: the parsed command line, a client, the catalog and the namespace."""

import argparse
from dataclasses import dataclass

from todoku.cli.kubectl_lib.catalog import Catalog
from todoku.client import Client


@dataclass(frozen=True, slots=True)
class Session:
    """One run of the program.  `namespace` is `-n`, or the context's."""

    given: argparse.Namespace
    client: Client
    catalog: Catalog
    namespace: str
