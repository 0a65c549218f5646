import pytest

from todoku.api.images import ImageError, parse

HEX = "a" * 64


@pytest.mark.parametrize(
    ("given", "normalised"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("httpd:2.4", "docker.io/library/httpd:2.4"),
        ("library/nginx", "docker.io/library/nginx:latest"),
        ("docker.io/httpd", "docker.io/library/httpd:latest"),
        ("index.docker.io/a/b", "docker.io/a/b:latest"),
        ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10"),
        ("quay.io/metallb/speaker:v0.14.9", "quay.io/metallb/speaker:v0.14.9"),
        ("localhost:5000/x", "localhost:5000/x:latest"),
        ("localhost/x:y", "localhost/x:y"),
        ("user/image", "docker.io/user/image:latest"),
        (f"busybox@sha256:{HEX}", f"docker.io/library/busybox@sha256:{HEX}"),
        (f"busybox:1@sha256:{HEX}", f"docker.io/library/busybox:1@sha256:{HEX}"),
    ],
)
def test_names_are_normalised_as_container_tools_do(given, normalised):
    assert str(parse(given)) == normalised


@pytest.mark.parametrize(
    "given", ["", "UPPER", "a b", "busybox:", "busybox:-x", "x@sha256:12", "-x", "a//b", "a/"]
)
def test_a_name_no_registry_can_hold_is_refused(given):
    with pytest.raises(ImageError) as refusal:
        parse(given)
    assert refusal.value.reason == "InvalidImageName"
