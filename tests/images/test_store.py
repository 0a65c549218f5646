import threading

import pytest

from todoku.api.images import Image
from todoku.images.store import Store, lower_directories

NAME = "docker.io/library/web:latest"


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "images")


def layer(store, digest="sha256:aa"):
    with store.staging() as scratch:
        tree = scratch / "tree"
        tree.mkdir()
        (tree / "file").write_text("x")
        return store.commit_layer(tree, digest)


def test_a_name_is_found_once_its_layers_are_here(store):
    store.put(Image("sha256:1", NAME, (str(layer(store)),)))
    assert store.find(NAME).id == "sha256:1"
    assert [image.reference for image in store.list()] == [NAME]


def test_a_name_without_its_layer_is_not_in_the_store(store):
    path = layer(store)
    store.put(Image("sha256:1", NAME, (str(path),)))
    store.discard_layer(path)
    assert store.find(NAME) is None


def test_a_broken_record_is_no_image(store):
    store.put(Image("sha256:1", NAME, ()))
    next((store.root / "names").iterdir()).write_text("{")
    assert store.find(NAME) is None


def test_the_same_layer_built_twice_is_kept_once(store):
    assert layer(store) == layer(store)


def test_a_layer_is_unused_when_no_name_needs_it(store):
    kept, lost = layer(store, "sha256:aa"), layer(store, "sha256:bb")
    store.put(Image("sha256:1", NAME, (str(kept),)))
    assert list(store.unused_layers()) == [lost]


def test_what_equal_inputs_gave_is_remembered_while_the_layer_lives(store):
    path = layer(store, "sha256:aa")
    store.remember("inputs", "sha256:aa", 7)
    assert store.built("inputs") == ("sha256:aa", 7)
    store.discard_layer(path)
    assert store.built("inputs") is None


def test_work_in_progress_survives_the_sweep_and_abandoned_work_does_not(store):
    abandoned = store.root / "tmp" / "abandoned"
    abandoned.mkdir()
    with store.staging() as scratch:
        store.sweep()
        assert scratch.is_dir()
    assert not abandoned.exists()


def test_two_labs_wait_for_each_other_at_one_lock(store):
    entered = []
    with store.locked("layer"):
        other = threading.Thread(target=lambda: _enter(Store(store.root), entered))
        other.start()
        other.join(0.05)
        assert entered == []
    other.join()
    assert entered == ["in"]


def _enter(store, entered):
    with store.locked("layer"):
        entered.append("in")


def test_lower_directories_are_read_from_mountinfo():
    text = (
        "90 27 0:55 / /merged rw,relatime - overlay overlay rw,lowerdir=/l/a:/l/b,upperdir=/u,workdir=/w\n"
        "91 27 0:56 / /proc rw - proc proc rw\n"
        "92 27 0:57 / /other rw - overlay o rw,lowerdir+=/l/c,upperdir=/u,workdir=/w\n"
    )
    assert list(lower_directories(text)) == ["/l/a", "/l/b", "/l/c"]
