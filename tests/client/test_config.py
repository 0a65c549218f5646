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
            {"users": [{"name": "u", "user": {"exec": {}}}]}, "exec: command: not set", id="empty plugin"
        ),
        pytest.param(
            {"users": [{"name": "u", "user": {"auth-provider": {}}}]}, "was removed", id="auth provider"
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


PLUGIN = {
    "apiVersion": "client.authentication.k8s.io/v1",
    "command": "./login",
    "args": ["--as", "me"],
}


def plugin(tmp_path, script, **changes):
    """A kubeconfig whose user logs in by a program that lies beside it."""
    program = tmp_path / "login"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    (tmp_path / "ca.crt").write_bytes(b"CA")
    return write(tmp_path, CONFIG | {"users": [{"name": "u", "user": {"exec": PLUGIN | changes}}]})


def test_a_credential_plugin_gives_a_token(tmp_path):
    path = plugin(
        tmp_path,
        """echo "{\\"status\\": {\\"token\\": \\"$2-$STAGE\\"}}" """,
        env=[{"name": "STAGE", "value": "test"}],
    )
    assert ClientConfig.from_kubeconfig(path).token == "me-test"


FAILURES = [
    ("it fails", "echo no access >&2; exit 3", {}, "ended with 3: no access"),
    ("it prints nonsense", "echo hello", {}, "did not print an ExecCredential"),
    ("it prints no credential", "echo '{}'", {}, "neither token nor certificate"),
    (
        "it is not there",
        "",
        {"command": "no-such-login", "installHint": "get it"},
        "not found; get it",
    ),
    ("it is too old", "", {"apiVersion": "client.authentication.k8s.io/v1alpha1"}, "v1alpha1"),
]


@pytest.mark.parametrize(
    ("script", "changes", "said"), [r[1:] for r in FAILURES], ids=[r[0] for r in FAILURES]
)
def test_a_plugin_that_gives_nothing_says_why(tmp_path, script, changes, said):
    with pytest.raises(ConfigError, match=said):
        ClientConfig.from_kubeconfig(plugin(tmp_path, script, **changes))
