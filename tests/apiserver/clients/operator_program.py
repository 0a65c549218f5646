"""An operator as its users write them with kopf: a Beacon has a ConfigMap of its own that tells its colour.

Run by test_kopf.py with `kopf run`, in a process of its own.
"""

import kopf
from kubernetes import client, config

config.load_kube_config()


@kopf.on.create("lab.example.com", "v1", "beacons")
def lit(spec, body, name, namespace, **_):
    lamp = {"metadata": {"name": f"{name}-lamp"}, "data": {"color": spec["color"]}}
    kopf.adopt(lamp)
    client.CoreV1Api().create_namespaced_config_map(namespace, lamp)
    kopf.event(body, type="Normal", reason="Lit", message="shines now")
    return {"lamp": f"{name}-lamp"}


@kopf.on.update("lab.example.com", "v1", "beacons", field="spec.color")
def recolored(old, new, name, namespace, patch, **_):
    patch.status["was"] = old
    data = {"data": {"color": new}}
    client.CoreV1Api().patch_namespaced_config_map(f"{name}-lamp", namespace, data)


@kopf.on.delete("lab.example.com", "v1", "beacons")
def put_out(name, namespace, **_):
    client.CoreV1Api().delete_namespaced_config_map(f"{name}-lamp", namespace)


@kopf.timer("lab.example.com", "v1", "beacons", interval=0.2)
def blink(status, patch, **_):
    if status.get("blinked", 0) < 2:
        patch.status["blinked"] = status.get("blinked", 0) + 1
