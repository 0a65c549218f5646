import json
import os

from todoku.api.images import ImageConfig
from todoku.images.layers import config_document, config_of, diff_id, finish
from todoku.images.recipes import Layer

LAYER = Layer(
    packages=("x",),
    files=(("etc/passwd", "root:x:0:0::/:/bin/sh\n"), ("usr/bin/run", "#!/bin/sh\n")),
    links=(("run", "/usr/bin/run"),),
    directories=(("tmp", 0o1777),),
)


def tree_of(path, *names):
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(name)
    return path


def test_documentation_is_pruned_and_the_recipe_s_own_files_are_added(tmp_path):
    tree = tree_of(tmp_path, "usr/share/doc/x/copyright", "usr/bin/x")
    finish(tree, LAYER)
    assert not (tree / "usr/share/doc").exists()
    assert (tree / "etc/passwd").stat().st_mode & 0o777 == 0o644
    assert (tree / "usr/bin/run").stat().st_mode & 0o777 == 0o755
    assert (tree / "tmp").stat().st_mode & 0o7777 == 0o1777
    assert (tree / "run").readlink().as_posix() == "/usr/bin/run"


def test_top_level_folders_are_merged_into_usr(tmp_path):
    tree = tree_of(tmp_path, "bin/a", "usr/bin/b", "lib/c")
    finish(tree, Layer())
    assert (tree / "bin").readlink().as_posix() == "usr/bin"
    assert (tree / "bin/a").read_text() == "bin/a"
    assert (tree / "usr/bin/b").exists() and (tree / "usr/lib/c").exists()


def test_kept_paths_are_all_that_stays_of_the_packages(tmp_path):
    tree = tree_of(tmp_path, "usr/bin/x", "usr/bin/y", "etc/deep/z")
    finish(tree, Layer(keep=("usr/bin/x",)))
    assert sorted(path.name for path in tree.rglob("*") if path.is_file()) == ["x"]
    assert not (tree / "etc").exists()


def test_equal_contents_have_equal_diff_ids_and_others_do_not(tmp_path):
    trees = []
    for name in ("one", "two", "three"):
        tree = tree_of(tmp_path / name, "usr/bin/x")
        os.utime(tree / "usr/bin/x", (5, 5))
        trees.append(tree)
    (trees[2] / "usr/bin/x").write_text("else")
    for tree in trees:
        finish(tree, LAYER)
    ids = [diff_id(tree)[0] for tree in trees]
    assert ids[0] == ids[1] != ids[2]


def test_a_configuration_survives_the_way_to_oci_and_back():
    config = ImageConfig(
        entrypoint=("/pause",), cmd=("-P",), env=("A=b",), working_dir="/w", user="1:2",
        stop_signal="SIGWINCH", exposed_ports=("80/tcp",),
    )  # fmt: skip
    document = json.loads(config_document(config, ["sha256:aa"], "a test"))
    assert config_of(document) == config
    assert document["rootfs"]["diff_ids"] == ["sha256:aa"]
