import os

import pytest

from todoku.linux import mounts, namespaces


@pytest.fixture
def root(tmp_path):
    """A root with links that try to leave it."""
    inside = tmp_path / "root"
    (inside / "a/b").mkdir(parents=True)
    (inside / "a/file").write_text("inside")
    (inside / "up").symlink_to("../../..")
    (inside / "absolute").symlink_to("/a")
    (inside / "etc").symlink_to("/etc")
    (tmp_path / "secret").write_text("outside")
    return inside


@pytest.mark.parametrize(("path", "found"), [
    ("/a/b", "a/b"), ("a/b", "a/b"), ("/", ""), ("/../..", ""), ("/up", ""), ("/up/a", "a"), ("/absolute/b", "a/b"),
    ("/a/../../../a/b", "a/b"),
])  # fmt: skip
def test_no_path_leads_out_of_its_root(root, path, found):
    assert mounts.resolve_beneath(str(root), path) == str(root / found).rstrip("/")


@pytest.mark.parametrize("path", ["/etc", "/secret", "/up/secret", "/../secret"])
def test_what_is_outside_does_not_exist(root, path):
    with pytest.raises(OSError, match=r"No such file|symbolic links"):
        mounts.resolve_beneath(str(root), path)


def test_directories_are_made_inside_wherever_links_point(root):
    (root / "away").symlink_to("/new")
    (root / "new").mkdir()
    made = mounts.make_directories_beneath(str(root), "/away/deep/er")
    assert made == str(root / "new/deep/er") and (root / "new/deep/er").is_dir()


def test_files_are_opened_for_writing_beneath(root):
    descriptor = mounts.open_beneath(str(root), "/absolute/new", os.O_WRONLY | os.O_CREAT, 0o600)
    os.close(descriptor)
    assert (root / "a/new").exists()


@pytest.mark.kernel
def test_an_overlay_writes_to_its_upper_directory_only(tmp_path):
    for name in ("low:er", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    (tmp_path / "low:er/file").write_text("old")

    def act():
        namespaces.unshare(namespaces.CLONE_NEWNS)
        mounts.make_private("/")
        merged = tmp_path / "merged"
        mounts.overlay(
            str(merged), [str(tmp_path / "low:er")], str(tmp_path / "upper"), str(tmp_path / "work")
        )
        (merged / "file").write_text("new")
        here = [one for one in mounts.mounted() if one.target == str(merged)]
        assert not mounts.umount(str(tmp_path / "upper"))
        assert mounts.umount(str(merged)) and not mounts.umount(str(merged))
        return here

    assert [one.kind for one in namespaces.in_thread(act)] == ["overlay"]
    assert (tmp_path / "low:er/file").read_text() == "old"
    assert (tmp_path / "upper/file").read_text() == "new"


@pytest.mark.kernel
def test_a_read_only_bind_refuses_writes(tmp_path):
    (tmp_path / "from").mkdir()
    (tmp_path / "to").mkdir()

    def act():
        namespaces.unshare(namespaces.CLONE_NEWNS)
        mounts.make_private("/")
        mounts.bind(str(tmp_path / "from"), str(tmp_path / "to"), read_only=True)
        (tmp_path / "from/x").write_text("")
        assert (tmp_path / "to/x").exists()
        with pytest.raises(OSError, match="Read-only"):
            (tmp_path / "to/y").write_text("")

    namespaces.in_thread(act)


@pytest.mark.kernel
def test_a_mount_goes_with_the_copies_that_a_recursive_bind_made(tmp_path):
    """As a pod that mounts the node's root has copies of what all others have mounted."""
    here, copy = tmp_path / "here", tmp_path / "copy"
    (here / "pods/uid/volume").mkdir(parents=True)
    (here / "pods/other").mkdir()
    copy.mkdir()

    def act():
        namespaces.unshare(namespaces.CLONE_NEWNS)
        mounts.make_private("/")
        mounts.tmpfs(str(here / "pods/uid/volume"))
        mounts.tmpfs(str(here / "pods/other"))
        mounts.bind(str(here), str(copy))
        assert os.path.ismount(copy / "pods/uid/volume")
        mounts.umount_all("/pods/uid/")
        (here / "pods/uid/volume").rmdir()
        assert os.path.ismount(here / "pods/other")

    namespaces.in_thread(act)
