"""reach, check and the Jobs on real machines: the tutorial's lab in chapter 4, and the same lab as a stranger."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import jsonschema_rs
import pytest
import yaml

from todoku.cli._reaching import Bench
from todoku.reach import schemas

pytestmark = pytest.mark.e2e

SERVICE = ("-n", "service-test", "svc/httpd-service")


async def todoku(*words: str, netns: str = "") -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, in another network if one is named."""
    inside = ["nsenter", f"--net={netns}"] if netns else []
    command = [*inside, sys.executable, "-m", "todoku", *words]
    return await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=150, check=False
    )


def document(done: subprocess.CompletedProcess[str], schema: str):
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    jsonschema_rs.Draft202012Validator(schemas.schema(schema)).validate(found)
    return found


@pytest.fixture
def stranger(bench: Bench, tmp_path: Path) -> tuple[str, str]:
    """(kubeconfig, network of an outside host): only these are known of the lab."""
    config = yaml.safe_load(bench.survey.lab.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://192.168.11.131:6443"
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    place = bench.survey.lab.host("rhel8host").namespaces
    assert place is not None
    return str(path), place.net


async def test_the_whole_table_of_the_tutorial_holds(bench: Bench):
    done = await todoku("check", "-L", bench.survey.lab.name, "-f", "article", "-o", "json")
    found = document(done, "check")
    assert [one for one in found["results"] if one["status"] != "passed"] == []
    assert done.returncode == 0
    machines = bench.survey.lab.ask("status")["machines"].values()
    assert {(one["power"], one["cable"]) for one in machines} == {("on", True)}, "faults are undone"


async def test_every_cell_is_as_predicted_and_the_report_is_as_its_schema_says(bench: Bench):
    found = document(
        await todoku("reach", "-L", bench.survey.lab.name, "-A", "-o", "json"), "reach"
    )
    cells = [cell for report in found["items"] for cell in report["cells"]]
    assert [cell for cell in cells if cell["surprising"]] == []
    assert {"ok", "timeout", "dns"} <= {cell["outcome"] for cell in cells}


async def test_a_trace_is_as_its_schema_says(bench: Bench):
    target = ("-n", "service-test", "rhel8host", "svc/httpd-service@lb")
    done = await todoku("trace", "-L", bench.survey.lab.name, *target, "-o", "json")
    found = document(done, "trace")
    assert found["disposition"] == "DELIVERED"
    assert {"ARP", "DNAT", "SOCKET"} <= {one["component"] for one in found["observations"]}


async def test_a_failed_assertion_shows_its_counter_example(bench: Bench, tmp_path: Path):
    file = tmp_path / "reach.yaml"
    file.write_text(
        "apiVersion: todoku/v1alpha1\nkind: ReachSpec\ndefaults: {namespace: service-test}\nexpect:\n"
        '- {from: rhel8host, to: "svc/httpd-service@clusterip", verdict: allowed, timeout: 500ms}\n'
    )
    done = await todoku("check", "-L", bench.survey.lab.name, "-f", str(file), "-o", "tap")
    assert done.returncode == 1
    assert "192.168.11.1 is at" in done.stdout
    assert "CLUSTERIP_INSIDE_ONLY" in done.stdout


async def test_today_s_state_is_tomorrow_s_baseline(bench: Bench, tmp_path: Path):
    name = bench.survey.lab.name
    written = await todoku("reach", "-L", name, "-A", "-o", "spec", "--from", "*host")
    file = tmp_path / "baseline.yaml"
    file.write_text(written.stdout)
    done = await todoku("check", "-L", name, "-f", str(file), "--strict")
    assert done.returncode == 0, done.stdout


async def test_another_cluster_is_asked_by_jobs_and_from_this_machine(
    bench: Bench, stranger: tuple[str, str]
):
    config, net = stranger
    words = ("reach", "--kubeconfig", config, "--image", "busybox", "--nodes", *SERVICE)
    found = document(await todoku(*words, "-o", "json", netns=net), "reach")
    outcomes = {(cell["from"], cell["to"]): cell["outcome"] for cell in found["cells"]}
    assert outcomes["pod@worker1", "ClusterIP:8080"] == "ok"
    assert outcomes["pod@worker1", "DNS"] == "ok"
    assert outcomes["master1", "ClusterIP:8080"] == "ok"
    assert outcomes["local", "192.168.11.136:8080"] == "ok"
    assert outcomes["local", "ClusterIP:8080"] == "timeout"
    assert [cell for cell in found["cells"] if cell["surprising"] or cell["outcome"] == "?"] == []
    assert (await bench.client.list("jobs.batch")).items == []


async def test_what_a_lab_alone_can_do_is_refused_elsewhere(stranger: tuple[str, str]):
    config, net = stranger
    traced = await todoku("trace", "--kubeconfig", config, "a", "svc/b", netns=net)
    checked = await todoku("check", "--kubeconfig", config, "-f", "article", netns=net)
    assert (traced.returncode, checked.returncode) == (2, 2)
    assert "a trace needs a lab" in traced.stderr
    assert "breaks machines, and that needs a lab" in checked.stderr


async def test_missing_rights_are_printed_as_roles_that_suffice(
    bench: Bench, stranger: tuple[str, str], tmp_path: Path
):
    config, net = stranger
    admin = yaml.safe_load(Path(config).read_text())
    admin["users"][0]["user"] |= {"as": "guest", "as-groups": ["system:authenticated"]}
    guest = tmp_path / "guest"
    guest.write_text(yaml.safe_dump(admin))
    ask = ("reach", "--kubeconfig", str(guest), "--image", "busybox", *SERVICE)
    refused = await todoku(*ask, netns=net)
    assert refused.returncode == 3
    assert "--check-access" in refused.stderr
    missing = await todoku(*ask, "--check-access", netns=net)
    assert missing.returncode == 1
    for role in yaml.safe_load_all(missing.stdout):
        await grant(bench, role)
    assert (await todoku(*ask, "--check-access", netns=net)).returncode == 0
    granted = await todoku(*ask, netns=net)
    assert "all as predicted" in granted.stdout, granted.stderr


async def grant(bench: Bench, role) -> None:
    resource = f"{role['kind'].lower()}s.rbac.authorization.k8s.io"
    await bench.client.create(resource, role)
    binding = {
        "apiVersion": role["apiVersion"],
        "kind": f"{role['kind']}Binding",
        "metadata": role["metadata"],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role["kind"], "name": role["metadata"]["name"]},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "guest"}],
    }  # fmt: skip
    await bench.client.create(resource.replace("s.rbac", "bindings.rbac"), binding)


async def test_a_killed_run_leaves_nothing_that_cleanup_does_not_find(
    bench: Bench, stranger: tuple[str, str]
):
    config, net = stranger
    words = ("reach", "--kubeconfig", config, "--image", "busybox", "--requests", "200", *SERVICE)
    command = ["nsenter", f"--net={net}", sys.executable, "-m", "todoku", *words]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    async with asyncio.timeout(30):
        while not (left := (await bench.client.list("jobs.batch")).items):
            await asyncio.sleep(0.02)
    process.kill()
    await process.wait()
    assert all(one["spec"]["activeDeadlineSeconds"] for one in left)
    done = await todoku("cleanup", "--kubeconfig", config, netns=net)
    assert "deleted Job default/reach-" in done.stdout, done.stderr
    assert (await bench.client.list("jobs.batch")).items == []
