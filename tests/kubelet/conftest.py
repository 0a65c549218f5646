import pytest
import pytest_asyncio

from tests.support.node import prepared_node


@pytest.fixture(scope="session")
def image_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("image-cache")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(image_cache, tmp_path_factory):
    """A node with a kubelet; the API server and the image service run in this process."""
    async with prepared_node(image_cache, tmp_path_factory.mktemp("node")) as node:
        yield node
