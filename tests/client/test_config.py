"""Where the server is and who asks."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
import yaml

from todoku.client import ClientConfig
from todoku.client.config import ConfigError, TokenFile

CONFIG = {
    "current-context": "lab",
    "contexts": [{"name": "lab", "context": {"cluster": "c", "user": "u", "namespace": "n"}}],
    "clusters": [{"name": "c", "cluster": {"server": "https://h:1/", "certificate-authority": "ca.crt"}}],
    "users": [{"name": "u", "user": {
        "client-certificate-data": base64.b64encode(b"CERT").decode(),
        "client-key-data": base64.b64encode(b"KEY").decode(),
    }}],
}  # fmt: skip


def write(folder: Path, document: object) -> Path:
    path = folder / "config"
    path.write_text(yaml.safe_dump(document))
    return path


def test_a_kubeconfig_gives_server_certificates_and_namespace(tmp_path):
    (tmp_path / "ca.crt").write_bytes(b"CA")
    config = ClientConfig.from_kubeconfig(write(tmp_path, CONFIG), user_agent="x")
    assert (config.server, config.namespace) == ("https://h:1", "n")
    assert (config.ca, config.certificate, config.key) == (b"CA", b"CERT", b"KEY")
    assert config.user_agent == "x"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"current-context": ""}, "current-context: not set", id="no context"),
        pytest.param({"current-context": "x"}, 'contexts: no entry is named "x"', id="unknown context"),
        pytest.param({"clusters": []}, 'clusters: no entry is named "c"', id="unknown cluster"),
        pytest.param({"clusters": [{"name": "c", "cluster": {}}]}, "server: not set", id="no server"),
        pytest.param(
            {"users": [{"name": "u", "user": {"exec": {}}}]}, "not supported", id="credential plugin"
        ),
        pytest.param(
            {"users": [{"name": "u", "user": {"client-certificate-data": "%"}}]}, "not base64", id="bad data"
        ),
    ],
)  # fmt: skip
def test_a_kubeconfig_that_says_too_little_names_what_is_missing(tmp_path, change, message):
    (tmp_path / "ca.crt").write_bytes(b"CA")
    with pytest.raises(ConfigError, match=message):
        ClientConfig.from_kubeconfig(write(tmp_path, CONFIG | change))


def test_a_pod_finds_its_server_and_account(tmp_path, monkeypatch):
    for name, content in {"ca.crt": "CA", "token": "t1\n", "namespace": "kube-system"}.items():
        (tmp_path / name).write_text(content)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    config = ClientConfig.in_cluster(folder=tmp_path)
    assert (config.server, config.namespace) == ("https://10.96.0.1:443", "kube-system")
    assert config.authorization()() == "Bearer t1"


def test_outside_a_pod_is_said_so(monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ConfigError, match="not in a pod"):
        ClientConfig.in_cluster()


def test_a_token_file_is_read_again_after_a_minute_or_a_refusal(tmp_path):
    now = 0.0
    path = tmp_path / "token"
    path.write_text("one")
    header = TokenFile(str(path), lambda: now)
    assert header() == "Bearer one"
    path.write_text("two")
    assert header() == "Bearer one"
    now = 60.0
    assert header() == "Bearer two"
    path.write_text("three")
    header.expire()
    assert header() == "Bearer three"
