import contextlib

import pytest

from tests.support.apiserver import running_api
from tests.support.node import running_node
from todoku.api import errors
from todoku.images import Config, ImageStore, Server


@pytest.fixture(scope="session")
def image_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("image-cache")


@pytest.fixture
async def node(image_cache, tmp_path):
    """A node with a kubelet; the API server and the image service run in this process."""
    config = Config(
        root=image_cache / "images", packages=image_cache / "packages", order=("recipe",)
    )
    async with (
        running_api() as api,
        Server(ImageStore(config), tmp_path / "images.sock"),
        running_node(api, tmp_path / "images.sock", tmp_path / "node") as node,
    ):
        for kind, name in (("namespaces", "default"), ("namespaces", "kube-node-lease")):
            with contextlib.suppress(errors.AlreadyExists):
                await node.client.create(
                    kind, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
                )
        with contextlib.suppress(errors.AlreadyExists):
            await node.client.create(
                "serviceaccounts", {"metadata": {"name": "default", "namespace": "default"}}
            )
        yield node
