import pytest

from todoku.api.images import parse
from todoku.images.recipes import RECIPES, find


def test_no_name_has_two_recipes():
    names = [str(parse(name)) for recipe in RECIPES for name in recipe.names]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "name", ["httpd", "docker.io/library/httpd:2.4", "busybox:latest", "registry.k8s.io/pause:3.10",
             "quay.io/metallb/controller:v0.14.9"],
)  # fmt: skip
def test_a_recipe_answers_for_the_names_it_lists(name):
    assert find(parse(name), RECIPES) is not None


@pytest.mark.parametrize(
    "name", ["httpd:2.2", "busybox:1.28", "example.com/httpd", "quay.io/metallb/controller:v0.14.8",
             f"httpd@sha256:{'a' * 64}", "someone/httpd"],
)  # fmt: skip
def test_a_recipe_never_answers_for_an_image_it_does_not_know(name):
    assert find(parse(name), RECIPES) is None


def test_the_metallb_pair_comes_before_any_registry_and_says_whose_it_is():
    recipe = find(parse("quay.io/metallb/speaker:v0.14.9"), RECIPES)
    assert recipe.first
    assert recipe.about.startswith("Todoku's implementation")
