"""Credential plugins: programs named by a kubeconfig that print a token or a certificate.

Source: client.authentication.k8s.io/v1 and v1beta1 ExecCredential.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_TIMEOUT_SECONDS = 60
_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")


class ConfigError(ValueError):
    """A kubeconfig or a pod's environment does not say enough; the message names what is missing."""


class PluginError(ConfigError):
    """A plugin cannot be run, or did not print a credential."""


def credential(
    plugin: Mapping[str, Any], *, cluster: Mapping[str, Any], folder: Path
) -> dict[str, Any]:
    """Run the program once; the fields of `ClientConfig` that its answer fills.

    `folder` is the kubeconfig's: a command with a slash is relative to it.  The credential is used as long as the
    process lives; a program that runs longer than the credential must be started anew.  Raises PluginError.
    """
    command, version = str(plugin.get("command") or ""), plugin.get("apiVersion")
    if not command:
        raise PluginError("exec: command: not set")
    if version not in _VERSIONS:
        raise PluginError(f"exec: apiVersion: {version!r}: one of {', '.join(_VERSIONS)}")
    program = str(folder / command) if "/" in command else command
    argv = [program, *map(str, plugin.get("args") or ())]
    env = {**os.environ, **{e["name"]: str(e.get("value", "")) for e in plugin.get("env") or ()}}
    env["KUBERNETES_EXEC_INFO"] = json.dumps(_info(plugin, cluster))
    try:
        done = subprocess.run(
            argv, env=env, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except FileNotFoundError as error:
        hint = plugin.get("installHint") or "is it installed and on PATH?"
        raise PluginError(f"exec: {command}: not found; {hint}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PluginError(f"exec: {command}: {error}") from error
    if done.returncode:
        raise PluginError(f"exec: {command} ended with {done.returncode}: {done.stderr.strip()}")
    return _fields(command, done.stdout)


def _info(plugin: Mapping[str, Any], cluster: Mapping[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = {"interactive": False}
    if plugin.get("provideClusterInfo"):
        spec["cluster"] = {key: value for key, value in cluster.items() if key != "extensions"}
    return {"apiVersion": plugin["apiVersion"], "kind": "ExecCredential", "spec": spec}


def _fields(command: str, output: str) -> dict[str, Any]:
    try:
        status = json.loads(output).get("status") or {}
    except (ValueError, AttributeError) as error:
        raise PluginError(f"exec: {command}: did not print an ExecCredential: {error}") from error
    found: dict[str, Any] = {}
    if status.get("token"):
        found["token"] = status["token"]
    if status.get("clientCertificateData") and status.get("clientKeyData"):
        found["certificate"] = status["clientCertificateData"].encode()
        found["key"] = status["clientKeyData"].encode()
    if not found:
        raise PluginError(f"exec: {command}: the ExecCredential has neither token nor certificate")
    return found
