"""`todoku manifests`: the shipped files, complete and never written over something else."""

import yaml

from todoku.cli import manifests, run


def test_every_file_is_written_and_printed(tmp_path, capsys):
    assert run(["manifests", str(tmp_path / "here")]) == 0
    written = sorted(path.name for path in (tmp_path / "here").iterdir())
    assert written == manifests.names()
    assert capsys.readouterr().out.splitlines() == [
        str(tmp_path / "here" / name) for name in written
    ]


def test_a_file_that_differs_is_not_overwritten_unless_forced(tmp_path, capsys):
    (tmp_path / "metallb.yaml").write_text("mine")
    assert run(["manifests", str(tmp_path)]) == 2
    assert "metallb.yaml" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["metallb.yaml"], "nothing was written"
    assert run(["manifests", str(tmp_path), "--force"]) == 0
    assert (tmp_path / "metallb.yaml").read_text() == manifests.text("metallb.yaml")


def test_the_article_s_files_are_there():
    kinds = {
        name: [doc["kind"] for doc in yaml.safe_load_all(manifests.text(name))]
        for name in manifests.names()
    }
    assert kinds["service-test-namespace.yaml"] == ["Namespace"]
    assert kinds["httpd-deployment.yaml"] == ["Deployment"]
    for name in ("clusterip", "nodeport", "loadbalancer"):
        assert kinds[f"{name}-service.yaml"] == ["Service"]
    assert kinds["ipaddresspool.yaml"] == ["IPAddressPool"]
    assert kinds["l2advertisement.yaml"] == ["L2Advertisement"]
    assert kinds["metallb.yaml"].count("CustomResourceDefinition") == 7
    assert kinds["metallb.yaml"][-3:] == [
        "Deployment",
        "DaemonSet",
        "ValidatingWebhookConfiguration",
    ]


def test_no_shipped_manifest_names_a_registry():
    for name in manifests.names():
        for doc in yaml.safe_load_all(manifests.text(name)):
            template = (doc.get("spec") or {}).get("template") or {}
            for container in (template.get("spec") or {}).get("containers", ()):
                assert container["image"] in ("httpd:latest", "todoku.internal/system:latest")
