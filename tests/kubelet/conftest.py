import pytest
import pytest_asyncio

from tests.support.node import running_node
from todoku.images import Config, ImageStore, Server


@pytest.fixture(scope="session")
def image_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("image-cache")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(image_cache, tmp_path_factory):
    """A node with a kubelet; the API server and the image service run in this process."""
    from tests.support.apiserver import running_api  # only where a server is really started

    folder = tmp_path_factory.mktemp("node")
    config = Config(
        root=image_cache / "images", packages=image_cache / "packages", order=("recipe",)
    )
    async with (
        running_api() as api,
        Server(ImageStore(config), folder / "images.sock"),
        running_node(api, folder / "images.sock", folder / "node") as node,
    ):
        await node.make("namespaces", {"metadata": {"name": "default"}})
        await node.make("namespaces", {"metadata": {"name": "kube-node-lease"}})
        await node.make(
            "serviceaccounts", {"metadata": {"name": "default", "namespace": "default"}}
        )
        yield node
