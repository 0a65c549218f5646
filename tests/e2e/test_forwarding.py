"""`todoku forward` and `todoku open`, as a user types them."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import MANIFESTS, RunningLab

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def web(lab: RunningLab) -> RunningLab:
    for name in ("service-test-namespace.yaml", "httpd-deployment.yaml", "nodeport-service.yaml"):
        lab.todoku("kubectl", "apply", "-f", str(MANIFESTS / name))
    ready = ("deployment/httpd-deployment", "--for=condition=Available", "--timeout=60s")
    lab.todoku("kubectl", "wait", *ready, "-n", "service-test")
    return lab


@contextlib.contextmanager
def running(lab: RunningLab, verb: str, *words: str) -> Iterator[str]:
    """The verb in the foreground of somebody's terminal; its first line.  Ctrl-C ends it, which is no failure."""
    argv = [sys.executable, "-m", "todoku", verb, "--lab", lab.name, *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(argv, text=True, **pipes) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=10)
        assert process.returncode == 0, said


def page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()


def test_open_serves_the_page_and_ends_with_ctrl_c(web):
    with running(web, "open", "svc/httpd-service", "-n", "service-test") as url:
        assert url.startswith("http://127.0.0.1:")
        assert "Pod Name: httpd-deployment" in page(url)


def test_forward_leads_where_the_machine_gets(web):
    with running(web, "forward", "--from", "al9host", "worker1:30080") as line:
        assert line.endswith("-> 192.168.11.132:30080 from al9host; Ctrl-C ends it")
        assert "Pod Name" in page(f"http://{line.split()[0]}/")


def test_a_service_without_pods_is_not_opened(web):
    web.todoku(
        "kubectl", "scale", "deployment/httpd-deployment", "--replicas=0", "-n", "service-test"
    )
    gone = ("pod", "-l", "app=httpd", "--for=delete", "--timeout=60s")
    web.todoku("kubectl", "wait", *gone, "-n", "service-test")
    done = web.run("open", "svc/httpd-service", "-n", "service-test", timeout=10)
    assert done.code == 1
    assert "NO_ENDPOINTS" in done.err


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (("forward", "nobody:80"), "for a Service use `todoku open svc/NAME`"),
        (("forward", "192.168.11.131"), "for example 192.168.11.136:8080"),
        (("forward", "--from", "nobody", "192.168.11.131:80"), "there are master1"),
        (("open", "svc/nobody", "-n", "service-test"), "there are: httpd-service"),
    ],
)
def test_wrong_use_says_what_to_do(web, words, remedy):
    done = web.run(*words)
    assert done.code == 2
    assert remedy in done.err


def test_a_port_that_is_taken_is_named(web):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = web.run("forward", "--port", port, "worker1:30080")
    assert done.code == 2
    assert f"--port {port}: Address already in use" in done.err
