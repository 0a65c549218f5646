"""Pods on a throw-away node: real API server, real images, real containers."""

import asyncio
import base64
import signal
from pathlib import Path

import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.asyncio(loop_scope="module")]

SLEEP = {"name": "main", "image": "busybox", "command": ["sleep", "1000"]}


def ready(pod):
    conditions = pod.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def status_of(pod, name, which="containerStatuses"):
    found = pod.get("status", {}).get(which, [])
    return next((one for one in found if one["name"] == name), {})


def restarted(name, times=1):
    return lambda pod: status_of(pod, name).get("restartCount", 0) >= times


def ended(pod):
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def waiting(reason, name="main"):
    return lambda pod: (
        status_of(pod, name).get("state", {}).get("waiting", {}).get("reason") == reason
    )


async def test_the_tutorial_s_pod_serves_the_page_its_init_container_wrote(node):
    fields = {"NODE_IP": "status.hostIP", "POD_IP": "status.podIP", "NODE_NAME": "spec.nodeName",
              "POD_NAME": "metadata.name"}  # fmt: skip
    page = "Node IP: $NODE_IP, Pod IP: $POD_IP, Node: $NODE_NAME, Pod: $POD_NAME"
    await node.pod(
        "web",
        initContainers=[{
            "name": "setup-html", "image": "busybox", "command": ["sh", "-c", f'echo "{page}" > /mnt/index.html'],
            "env": [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()],
            "volumeMounts": [{"name": "html", "mountPath": "/mnt"}],
        }],
        containers=[{
            "name": "httpd", "image": "busybox", "command": ["httpd", "-f", "-h", "/www"],
            "ports": [{"containerPort": 80, "name": "http"}],
            "readinessProbe": {"httpGet": {"port": "http"}, "periodSeconds": 1},
            "volumeMounts": [{"name": "html", "mountPath": "/www"}],
        }],
        volumes=[{"name": "html", "emptyDir": {}}],
    )  # fmt: skip
    pod = await node.until("web", ready)
    status = pod["status"]
    assert status["phase"] == "Running"
    assert status["podIP"].startswith("10.99.0.")
    assert status["initContainerStatuses"][0]["state"]["terminated"]["reason"] == "Completed"
    assert status["containerStatuses"][0]["containerID"].startswith(("crun://", "runc://"))
    page = await node.inside("wget", "-qO-", f"http://{status['podIP']}/")
    assert page == f"Node IP: 127.0.0.1, Pod IP: {status['podIP']}, Node: {node.name}, Pod: web\n"
    reasons = [event["reason"] for event in await node.events("web")]
    assert reasons.count("Started") == 2 and "Killing" not in reasons
    await node.client.delete("pods", "web", "default")
    await node.gone("web")


async def test_the_node_registers_itself_and_keeps_its_lease(node):
    async with asyncio.timeout(10):
        while node.name not in [
            one["metadata"]["name"] for one in (await node.client.list("nodes")).items
        ]:
            await asyncio.sleep(0.05)
    found = await node.client.get("nodes", node.name)
    assert found["status"]["nodeInfo"]["containerRuntimeVersion"].startswith(("crun://", "runc://"))
    assert found["status"]["allocatable"]["pods"] == "110"
    ready = [one for one in found["status"]["conditions"] if one["type"] == "Ready"]
    assert (ready[0]["status"], ready[0]["reason"]) == ("True", "KubeletReady")
    await asyncio.sleep(1.3)
    drivers = await node.client.get("csinodes.storage.k8s.io", node.name)
    assert drivers["spec"] == {"drivers": None}
    assert drivers["metadata"]["ownerReferences"][0]["uid"] == found["metadata"]["uid"]
    lease = await node.client.get("leases.coordination.k8s.io", node.name, "kube-node-lease")
    await asyncio.sleep(1.3)
    later = await node.client.get("leases.coordination.k8s.io", node.name, "kube-node-lease")
    assert later["spec"]["renewTime"] > lease["spec"]["renewTime"]


SCRIPTS = {
    "literal and reference": (
        "echo $B-$C-$D",
        {"env": [{"name": "A", "value": "x"}, {"name": "B", "value": "$(A)y"}, {"name": "C", "value": "$$(A)"},
                 {"name": "D", "value": "$(NOBODY)"}]},
        {},
        "xy-$(A)-$(NOBODY)\n",
    ),
    "working directory": ("pwd", {"workingDir": "/some/where"}, {}, "/some/where\n"),
    "user and groups": (
        "id -u; id -g; id -G",
        {"securityContext": {"runAsUser": 1000, "runAsGroup": 2000}},
        {"securityContext": {"supplementalGroups": [3000], "fsGroup": 4000}},
        "1000\n2000\n2000 3000 4000\n",
    ),
    "no capabilities": (
        "grep CapEff /proc/self/status", {"securityContext": {"capabilities": {"drop": ["all"]}}}, {},
        "CapEff:\t0000000000000000\n",
    ),
    "one capability": (
        "grep CapEff /proc/self/status",
        {"securityContext": {"capabilities": {"drop": ["ALL"], "add": ["net_raw"]}}}, {},
        "CapEff:\t0000000000002000\n",
    ),
    "no new privileges": (
        "grep NoNewPrivs /proc/self/status", {"securityContext": {"allowPrivilegeEscalation": False}}, {},
        "NoNewPrivs:\t1\n",
    ),
    "read-only root": (
        "touch /x 2>&1 || echo refused", {"securityContext": {"readOnlyRootFilesystem": True}}, {},
        "touch: /x: Read-only file system\nrefused\n",
    ),
    "default seccomp profile": (
        "grep 'Seccomp:' /proc/self/status", {"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}}, {},
        "Seccomp:\t2\n",
    ),
    "host name": ("hostname; cat /etc/hostname", {}, {"hostname": "chosen"}, "chosen\nchosen\n"),
    "name servers": (
        "cat /etc/resolv.conf", {}, {"dnsPolicy": "None", "dnsConfig": {
            "nameservers": ["10.0.0.9"], "searches": ["a.b"], "options": [{"name": "ndots", "value": "2"}]}},
        "search a.b\nnameserver 10.0.0.9\noptions ndots:2\n",
    ),
    "host aliases": (
        "tail -1 /etc/hosts", {}, {"hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]}, "1.2.3.4\ta\tb\n",
    ),
    "sysctl": (
        "cat /proc/sys/net/ipv4/ip_local_port_range", {},
        {"securityContext": {"sysctls": [{"name": "net.ipv4.ip_local_port_range", "value": "2000 3000"}]}},
        "2000\t3000\n",
    ),
    "memory volume": (
        "mount | grep ' /m ' | cut -d' ' -f1,5", {"volumeMounts": [{"name": "m", "mountPath": "/m"}]},
        {"volumes": [{"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]}, "tmpfs tmpfs\n",
    ),
    "group of a volume": (
        "stat -c '%g %a' /v", {"volumeMounts": [{"name": "v", "mountPath": "/v"}]},
        {"securityContext": {"fsGroup": 4000}, "volumes": [{"name": "v", "emptyDir": {}}]}, "4000 2777\n",
    ),
    "downward volume": (
        "cat /d/labels; echo; cat /d/cpu", {"volumeMounts": [{"name": "d", "mountPath": "/d"}],
                                            "resources": {"limits": {"cpu": "500m"}}},
        {"metadata": {"labels": {"a": "b"}}, "volumes": [{"name": "d", "downwardAPI": {"items": [
            {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
            {"path": "cpu", "resourceFieldRef": {"containerName": "main", "resource": "limits.cpu", "divisor": "1m"}}]}}]},
        'a="b"\n500',
    ),
    "its own processes only": ("set -- /proc/[0-9]*; echo $#", {}, {}, "1\n"),
    "loopback is up": ("ip -o link show lo | grep -o UP | head -1", {}, {}, "UP\n"),
    "unprivileged ports": ("cat /proc/sys/net/ipv4/ip_unprivileged_port_start", {}, {}, "0\n"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("script", "container", "spec", "expected"), SCRIPTS.values(), ids=SCRIPTS.keys()
)
async def test_inside_a_container(node, request, script, container, spec, expected):
    name = "in-" + request.node.callspec.id.replace(" ", "-").replace("'", "")
    text = await node.output(name, script, container=container, **spec)
    assert text == expected


async def test_configuration_reaches_variables_and_files_and_follows_changes(node):
    await node.make(
        "configmaps",
        {"metadata": {"name": "settings", "namespace": "default"}, "data": {"color": "red"}},
    )
    secret = {
        "metadata": {"name": "key", "namespace": "default"},
        "data": {"pin": base64.b64encode(b"1234").decode()},
    }
    await node.make("secrets", secret)
    await node.pod(
        "configured",
        containers=[{
            "name": "main", "image": "busybox",
            "command": ["sh", "-c", "echo $PIN $color; cat /c/color /s/pin; while sleep 0.05; do cat /c/color; done"],
            "env": [{"name": "PIN", "valueFrom": {"secretKeyRef": {"name": "key", "key": "pin"}}}],
            "envFrom": [{"configMapRef": {"name": "settings"}}],
            "volumeMounts": [{"name": "c", "mountPath": "/c"}, {"name": "s", "mountPath": "/s"}],
        }],
        volumes=[{"name": "c", "configMap": {"name": "settings"}},
                 {"name": "s", "secret": {"secretName": "key", "defaultMode": 0o400}}],
    )  # fmt: skip
    pod = await node.until("configured", ready)
    assert (await node.logs(pod, "main")).startswith("1234 red\n")
    await node.client.patch("configmaps", "settings", "default", {"data": {"color": "blue"}})
    async with asyncio.timeout(5):
        while "blue" not in (node.log_of(pod, "main")):
            await asyncio.sleep(0.05)


async def test_a_pod_waits_for_the_config_map_it_needs_and_starts_when_it_comes(node):
    container = SLEEP | {
        "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "a"}}}]
    }
    await node.pod("needy", containers=[container])
    pod = await node.until("needy", waiting("CreateContainerConfigError"))
    assert status_of(pod, "main")["state"]["waiting"]["message"] == 'configmap "late" not found'
    await node.make(
        "configmaps", {"metadata": {"name": "late", "namespace": "default"}, "data": {"a": "1"}}
    )
    await node.until("needy", ready, seconds=3)


async def test_a_container_that_fails_is_restarted_with_back_off(node):
    await node.pod("crash", containers=[SLEEP | {"command": ["sh", "-c", "exit 3"]}])
    pod = await node.until("crash", waiting("CrashLoopBackOff"))
    main = status_of(pod, "main")
    assert (
        main["lastState"]["terminated"] | {"exitCode": 3, "reason": "Error"}
        == main["lastState"]["terminated"]
    )
    assert (
        "restarting failed container=main pod=crash_default(" in main["state"]["waiting"]["message"]
    )
    await node.until("crash", restarted("main", 2))
    events = {event["reason"]: event["message"] for event in await node.events("crash")}
    assert events["BackOff"].startswith(
        "Back-off restarting failed container main in pod crash_default("
    )


@pytest.mark.parametrize(
    ("policy", "code", "phase"),
    [("Never", 0, "Succeeded"), ("Never", 1, "Failed"), ("OnFailure", 0, "Succeeded")],
)
async def test_a_pod_that_is_done_has_a_phase_that_says_how(node, policy, code, phase):
    name = f"done-{policy.lower()}-{code}"
    container = SLEEP | {"command": ["sh", "-c", f"echo bye > /dev/termination-log; exit {code}"]}
    await node.pod(name, restartPolicy=policy, containers=[container])
    pod = await node.until(name, ended)
    terminated = status_of(pod, "main")["state"]["terminated"]
    assert pod["status"]["phase"] == phase
    assert (terminated["exitCode"], terminated["message"]) == (code, "bye\n")


async def test_a_failing_liveness_probe_restarts_the_container(node):
    probe = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1}
    await node.pod("sick", containers=[SLEEP | {"livenessProbe": probe}])
    await node.until("sick", restarted("main"))
    events = {event["reason"]: event["message"] for event in await node.events("sick")}
    assert events["Killing"] == "Container main failed liveness probe, will be restarted"
    assert events["Unhealthy"].startswith("Liveness probe failed")


async def test_readiness_comes_and_goes_with_the_probe(node):
    probe = {
        "exec": {"command": ["test", "-e", "/tmp/ok"]},
        "periodSeconds": 1,
        "failureThreshold": 1,
    }
    command = ["sh", "-c", "sleep 1.2; touch /tmp/ok; sleep 2; rm /tmp/ok; sleep 100"]
    await node.pod("moody", containers=[SLEEP | {"command": command, "readinessProbe": probe}])
    running = await node.until("moody", lambda pod: pod.get("status", {}).get("phase") == "Running")
    assert not ready(running)
    await node.until("moody", ready)
    await node.until("moody", lambda pod: not ready(pod))


async def test_a_startup_probe_holds_the_others_back(node):
    started = {
        "exec": {"command": ["test", "-e", "/tmp/up"]},
        "periodSeconds": 1,
        "failureThreshold": 20,
    }
    live = {
        "exec": {"command": ["test", "-e", "/tmp/up"]},
        "periodSeconds": 1,
        "failureThreshold": 1,
    }
    command = ["sh", "-c", "sleep 1.5; touch /tmp/up; sleep 100"]
    await node.pod(
        "slow",
        containers=[SLEEP | {"command": command, "startupProbe": started, "livenessProbe": live}],
    )
    pod = await node.until("slow", ready)
    assert status_of(pod, "main")["restartCount"] == 0


@pytest.mark.parametrize("kind", ["tcpSocket", "httpGet"])
async def test_network_probes_ask_the_pod_s_address(node, kind):
    probe = {kind: {"port": 8080}, "periodSeconds": 1}
    await node.pod(f"net-{kind.lower()}", containers=[
        SLEEP | {"command": ["httpd", "-f", "-p", "8080", "-h", "/etc"], "readinessProbe": {"tcpSocket": {"port": 8080}}}
        if kind == "tcpSocket" else
        SLEEP | {"command": ["sh", "-c", "mkdir /w; echo hi > /w/index.html; httpd -f -p 8080 -h /w"], "readinessProbe": probe}
    ])  # fmt: skip
    await node.until(f"net-{kind.lower()}", ready)


async def test_a_sidecar_starts_first_and_ends_last(node):
    await node.pod(
        "carried", restartPolicy="Never",
        initContainers=[SLEEP | {"name": "side", "restartPolicy": "Always",
                                 "command": ["sh", "-c", "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done"]}],
        containers=[SLEEP | {"command": ["true"]}],
    )  # fmt: skip
    pod = await node.until("carried", ended)
    assert pod["status"]["phase"] == "Succeeded"
    side = status_of(pod, "side", "initContainerStatuses")
    main = status_of(pod, "main")
    assert side["state"]["terminated"]["finishedAt"] >= main["state"]["terminated"]["finishedAt"]


async def test_termination_runs_the_hook_then_asks_then_kills(node):
    script = "trap 'echo asked >> /v/log; exit 0' TERM; while :; do sleep 0.05; done"
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo hook >> /v/log"]}}}
    await node.pod(
        "polite", terminationGracePeriodSeconds=5,
        containers=[SLEEP | {"command": ["sh", "-c", script], "lifecycle": hook,
                             "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
        volumes=[{"name": "v", "hostPath": {"path": "/polite", "type": "DirectoryOrCreate"}}],
    )  # fmt: skip
    await node.until("polite", ready)
    await asyncio.sleep(0.2)
    await node.client.delete("pods", "polite", "default")
    await node.gone("polite")
    assert (node.folder / "host/polite/log").read_text() == "hook\nasked\n"
    assert not list((node.folder / "root/pods").glob("*/volumes/kubernetes.io~host-path/v"))


async def test_a_container_that_ignores_the_request_is_killed_after_its_grace(node):
    await node.pod(
        "stubborn", containers=[SLEEP | {"command": ["sh", "-c", "trap '' TERM; sleep 1000"]}]
    )
    await node.until("stubborn", ready)
    began = asyncio.get_running_loop().time()
    await node.client.delete("pods", "stubborn", "default", grace_period_seconds=1)
    await node.gone("stubborn")
    assert asyncio.get_running_loop().time() - began < 4


async def test_a_host_path_cannot_leave_the_node_s_folder(node):
    (node.folder / "host/trap").mkdir()
    (node.folder / "host/trap/out").symlink_to("/")
    (node.folder / "host/inside").write_text("mine")
    volume = {"name": "v", "hostPath": {"path": "/trap/out", "type": "Directory"}}
    mount = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    assert await node.output(
        "escape", "cat /v/inside; ls /v | sort | head -1", container=mount, volumes=[volume]
    ) == ("mineinside\n")


async def test_a_sub_path_cannot_leave_its_volume(node):
    script = "ln -s / /v/root; mkdir -p /v/a; echo a > /v/a/f"
    mounts = [{"name": "v", "mountPath": "/v"}]
    reader = SLEEP | {
        "command": ["sh", "-c", "ls /x; cat /y"],
        "volumeMounts": [
            {"name": "v", "mountPath": "/x", "subPath": "root"},
            {"name": "v", "mountPath": "/y", "subPath": "a/f"},
        ],
    }
    await node.pod(
        "subpath", restartPolicy="Never", containers=[reader], volumes=[{"name": "v", "emptyDir": {}}],
        initContainers=[SLEEP | {"name": "make", "command": ["sh", "-c", script], "volumeMounts": mounts}],
    )  # fmt: skip
    pod = await node.until("subpath", ended)
    assert await node.logs(pod, "main") == "a\nroot\na\n"


async def test_limits_become_control_groups(node):
    resources = {"limits": {"memory": "32Mi", "cpu": "200m"}, "requests": {"cpu": "100m"}}
    await node.pod("bounded", containers=[SLEEP | {"resources": resources}])
    pod = await node.until("bounded", ready)
    assert pod["status"]["qosClass"] == "Burstable"
    found = [
        path
        for path in Path("/sys/fs/cgroup").rglob("memory.limit_in_bytes")
        if node.cgroup in str(path)
    ]
    found += [
        path for path in Path("/sys/fs/cgroup").rglob("memory.max") if node.cgroup in str(path)
    ]
    if not found:
        pytest.skip("this machine has no memory controller")
    values = {path.read_text().strip() for path in found if pod["metadata"]["uid"] in str(path)}
    assert values == {str(32 << 20)}
    await node.client.delete("pods", "bounded", "default")
    await node.gone("bounded")
    assert not list(Path("/sys/fs/cgroup").rglob(f"pod{pod['metadata']['uid']}"))


async def test_a_container_that_wants_too_much_memory_is_killed_and_says_so(node):
    container = SLEEP | {
        "command": ["tail", "/dev/zero"],
        "resources": {"limits": {"memory": "16Mi"}},
    }
    await node.pod("hog", restartPolicy="Never", containers=[container])
    pod = await node.until("hog", ended)
    assert status_of(pod, "main")["state"]["terminated"]["reason"] == "OOMKilled"
    assert pod["status"]["phase"] == "Failed"
    assert not Path(
        "oom"
    ).exists()  # the monitor's note lies with its container, not where the agent stands


async def test_an_image_that_nobody_has_is_an_error_the_pod_shows(node):
    await node.pod("imageless", containers=[SLEEP | {"image": "nobody.example/has:this"}])
    pod = await node.until("imageless", waiting("ImagePullBackOff"))
    assert (
        'Back-off pulling image "nobody.example/has:this"'
        in status_of(pod, "main")["state"]["waiting"]["message"]
    )
    messages = [event["message"] for event in await node.events("imageless")]
    assert 'Pulling image "nobody.example/has:this"' in messages
    assert "Error: ErrImagePull" in messages


async def test_a_command_that_does_not_exist_is_an_error_of_the_runtime(node):
    await node.pod(
        "commandless", restartPolicy="Never", containers=[SLEEP | {"command": ["/no/such"]}]
    )
    pod = await node.until("commandless", lambda pod: status_of(pod, "main").get("state", {}) and (
        ended(pod) or ("waiting" in status_of(pod, "main")["state"]
        and status_of(pod, "main")["state"]["waiting"]["reason"] in ("CreateContainerError", "RunContainerError"))))  # fmt: skip
    assert "no/such" in str(status_of(pod, "main")["state"])


async def test_containers_on_the_host_network_see_the_node(node):
    text = await node.output("hostly", "ip -o link | wc -l; hostname", hostNetwork=True)
    assert int(text.splitlines()[0]) >= 1
    pod = await node.get("hostly")
    assert pod["status"]["podIP"] == pod["status"]["hostIP"]


async def test_containers_share_processes_when_asked(node):
    await node.pod(
        "family", shareProcessNamespace=True, restartPolicy="Never",
        containers=[SLEEP | {"name": "other"}, SLEEP | {"command": ["sh", "-c", "sleep 0.3; ps | grep -c 'sleep 100[0]'"]}],
    )  # fmt: skip
    pod = await node.until(
        "family", lambda pod: "terminated" in status_of(pod, "main").get("state", {})
    )
    assert await node.logs(pod, "main") == "1\n"


async def test_a_deadline_ends_the_pod(node):
    await node.pod("late-pod", activeDeadlineSeconds=1, containers=[SLEEP])
    pod = await node.until("late-pod", ended)
    assert (pod["status"]["phase"], pod["status"]["reason"]) == ("Failed", "DeadlineExceeded")


async def test_an_ephemeral_container_joins_a_running_pod(node):
    await node.pod("debugged", containers=[SLEEP])
    await node.until("debugged", ready)
    extra = {"name": "debug", "image": "busybox", "command": ["sh", "-c", "echo here; sleep 1000"],
             "terminationMessagePolicy": "File", "imagePullPolicy": "IfNotPresent"}  # fmt: skip
    await node.client.patch(
        "pods", "debugged", "default", {"spec": {"ephemeralContainers": [extra]}}, kind="strategic",
        subresource="ephemeralcontainers",
    )  # fmt: skip
    await node.until(
        "debugged",
        lambda pod: (
            "running" in status_of(pod, "debug", "ephemeralContainerStatuses").get("state", {})
        ),
    )


async def test_a_restarted_kubelet_adopts_what_runs(node):
    await node.pod("steady", containers=[SLEEP])
    before = await node.until("steady", ready)
    await node.stop_agent(signal.SIGKILL)
    await node.start_agent()
    await asyncio.sleep(1.5)
    after = await node.get("steady")
    assert status_of(after, "main")["containerID"] == status_of(before, "main")["containerID"]
    assert status_of(after, "main")["restartCount"] == 0 and ready(after)
    await node.client.delete("pods", "steady", "default")
    await node.gone("steady")


async def test_what_was_deleted_while_the_kubelet_was_away_is_ended(node):
    await node.pod("orphan", containers=[SLEEP])
    pod = await node.until("orphan", ready)
    await node.stop_agent()
    await node.client.delete("pods", "orphan", "default", grace_period_seconds=0)
    await node.gone("orphan")
    await node.start_agent()
    folder = node.folder / "root/pods" / pod["metadata"]["uid"]
    async with asyncio.timeout(10):
        while folder.exists():
            await asyncio.sleep(0.05)


async def test_a_container_whose_process_was_killed_is_restarted(node):
    await node.pod("shot", containers=[SLEEP])
    await node.until("shot", ready)
    await node.inside("pkill", "-KILL", "-f", "^sleep 1000$", check=False)
    await node.until("shot", restarted("main"))


async def test_nothing_is_left_when_all_pods_are_gone(node):
    pods = await node.client.list("pods", "default")
    for pod in pods.items:
        await node.client.delete("pods", pod["metadata"]["name"], "default", grace_period_seconds=0)
    for pod in pods.items:
        await node.gone(pod["metadata"]["name"])

    def left():
        folders = [
            node.folder / part
            for part in ("root/containers", "root/pods", "host/var/log/pods", "run/sandboxes")
        ]
        return [str(path) for folder in folders for path in folder.iterdir()]

    for _ in range(100):
        if not left():
            break
        await asyncio.sleep(0.05)
    assert left() == []
    assert node.folder.name not in await node.inside(
        "grep", "overlay", "/proc/self/mountinfo", check=False
    )
