"""The image service from packages of the distribution: needs apt's lists and a package mirror or cache."""

import asyncio
import shutil
import socket
import tarfile
from pathlib import Path

import pytest

from todoku.api.images import ImageError
from todoku.images import Config, Images, ImageStore, Server

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    return tmp_path_factory.mktemp("packages")


@pytest.fixture
def config(tmp_path, packages):
    return Config(root=tmp_path / "images", packages=packages, order=("recipe",))


@pytest.fixture
async def images(config, tmp_path):
    seen = []
    async with (
        Server(ImageStore(config), tmp_path / "images.sock"),
        Images(tmp_path / "images.sock", progress=seen.append) as client,
    ):
        client.seen = seen
        yield client


async def test_busybox_is_built_from_its_package_with_applets(images):
    image = await images.ensure("busybox", "IfNotPresent")
    assert image.reference == "docker.io/library/busybox:latest"
    assert image.origin == "recipe" and image.pulled and image.id.startswith("sha256:")
    assert image.config.cmd == ("sh",)
    layer = image.layers[0]
    assert await run(f"{layer}/usr/bin/busybox", "echo", "real") == "real\n"
    assert await run(f"{layer}/usr/bin/sh", "-c", "echo applet") == "applet\n"
    assert any("fetching" in line for line in images.seen)


async def test_httpd_has_the_tar_that_kubectl_cp_runs_in_it(images):
    image = await images.ensure("httpd", "IfNotPresent")
    assert any(
        Path(layer, path).exists() for layer in image.layers for path in ("bin/tar", "usr/bin/tar")
    )


async def test_a_second_request_finds_the_image_in_the_store(images):
    first = await images.ensure("busybox", "Always")
    again = await images.ensure("busybox:latest", "Always")
    assert (again.id, again.layers, again.pulled) == (first.id, first.layers, False)
    assert [image.reference for image in await images.list()] == [first.reference]


async def test_ten_pods_asking_at_once_build_one_image(images):
    got = await asyncio.gather(*(images.ensure("busybox", "IfNotPresent") for _ in range(10)))
    assert len({image.id for image in got}) == 1
    assert sum("unpacking" in line for line in images.seen) == 1


async def test_two_labs_build_equal_images(config, tmp_path, packages):
    other = Config(root=tmp_path / "other", packages=packages, order=("recipe",))
    first, second = await asyncio.gather(
        ImageStore(config).ensure("busybox", "Always"),
        ImageStore(other).ensure("busybox", "Always"),
    )
    assert first.id == second.id


async def test_an_image_that_is_absent_is_refused_under_never(images):
    with pytest.raises(ImageError) as refusal:
        await images.ensure("busybox", "Never")
    assert refusal.value.reason == "ErrImageNeverPull"


async def test_an_unknown_image_is_refused_with_the_reason(images):
    with pytest.raises(ImageError) as refusal:
        await images.ensure("example.com/nobody/knows:this", "IfNotPresent")
    assert refusal.value.reason == "ErrImagePull"
    assert "no recipe" in refusal.value.message


async def test_prune_keeps_what_names_need_and_everything_frees_it(images):
    image = await images.ensure("busybox", "IfNotPresent")
    assert await images.prune() == 0
    await images.remove("busybox")
    assert await images.prune() > 0
    assert await images.list() == []
    with pytest.raises(ImageError):
        await images.remove(image.reference)


async def test_the_system_image_runs_this_python_as_nobody(images, tmp_path):
    image = await images.ensure("todoku.internal/system:latest", "IfNotPresent")
    assert image.config.user == "65534"
    code = "import todoku.api.images, ssl, aiohttp; print(todoku.__file__)"
    lower, merged = ":".join(image.layers), tmp_path / "merged"
    merged.mkdir()
    script = (
        f"mount -t overlay overlay -o lowerdir={lower} {merged} && cd / && exec env -i PYTHONPATH=/opt/todoku "
        f"{shutil.which('chroot')} --userspec=65534:65534 {merged} /usr/local/bin/python3 -c '{code}'"
    )
    assert await run("unshare", "--mount", "sh", "-c", script) == "/opt/todoku/todoku/__init__.py\n"


async def test_a_system_image_of_other_code_is_built_anew(images, config, monkeypatch):
    first = await images.ensure("todoku.internal/system:latest", "IfNotPresent")
    monkeypatch.setattr("todoku.images.system.ROOMS", ("__init__.py", "api"))
    second = await ImageStore(config).ensure("todoku.internal/system:latest", "IfNotPresent")
    assert first.id != second.id
    assert first.layers[1] == second.layers[1]  # the interpreter's layer is the same


async def test_the_registry_is_asked_first_and_its_silence_leads_to_the_recipe(config, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never answers
        name = f"127.0.0.1:{silent.getsockname()[1]}/x:1"
        quick = Config(root=config.root, packages=config.packages, registry_timeout_seconds=0.2)
        with pytest.raises(ImageError) as refusal:
            await ImageStore(quick).ensure(name, "Always")
    assert "is not in reach" in refusal.value.message


async def test_an_image_goes_to_a_registry_and_comes_back(images, config, tmp_path, registry):
    """Through skopeo: an OCI layout made here, pushed, pulled, and read out of containers-storage."""
    rootfs = tmp_path / "rootfs"
    (rootfs / "etc").mkdir(parents=True)
    (rootfs / "etc/motd").write_text("hello")
    archive = docker_archive(tmp_path, rootfs, f"{registry}/hello:1")
    online = ImageStore(
        Config(root=config.root, packages=config.packages, insecure_registries=(registry,))
    )
    (loaded,) = await online.load(archive)
    assert loaded.origin == "archive"
    await run("skopeo", "copy", "-q", "--dest-tls-verify=false", f"docker-archive:{archive}",
              f"docker://{registry}/hello:1")  # fmt: skip
    await online.remove(f"{registry}/hello:1")
    pulled = await online.ensure(f"{registry}/hello:1", "IfNotPresent")
    assert (pulled.origin, pulled.id, pulled.pulled) == ("registry", loaded.id, True)
    assert Path(pulled.layers[0], "etc/motd").read_text() == "hello"
    assert pulled.config.cmd == ("/hi",)
    again = await online.ensure(f"{registry}/hello:1", "Always")
    assert again.id == pulled.id


@pytest.fixture
async def registry(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = tmp_path / "registry.yml"
    settings.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {tmp_path}/registry}}}}\n"
        f"http: {{addr: 127.0.0.1:{port}}}\n"
    )
    if not shutil.which("docker-registry"):
        pytest.skip("docker-registry is not installed")
    process = await asyncio.create_subprocess_exec(
        "docker-registry", "serve", str(settings), stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                await asyncio.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


def docker_archive(folder, rootfs, name):
    import hashlib
    import json

    layer = folder / "layer.tar"
    with tarfile.open(layer, "w") as tar:
        tar.add(rootfs, arcname=".")
    digest = hashlib.sha256(layer.read_bytes()).hexdigest()
    config = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/hi"]},
              "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]}}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "manifest.json").write_text(
        json.dumps([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}])
    )
    path = folder / "image.tar"
    with tarfile.open(path, "w") as tar:
        for one in ("manifest.json", "config.json", "layer.tar"):
            tar.add(folder / one, arcname=one)
    return path


async def run(*argv):
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()


async def test_a_service_that_restarts_is_asked_again(config, tmp_path):
    path = tmp_path / "images.sock"
    async with Images(path) as client:
        asking = asyncio.create_task(client.ensure("busybox", "IfNotPresent"))
        await asyncio.sleep(0.1)
        async with Server(ImageStore(config), path):
            assert (await asking).origin == "recipe"
