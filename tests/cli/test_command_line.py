"""The command line's promises: exit codes, streams, errors that name the remedy."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
import yaml

from todoku import cli
from todoku.cli import CouldNotTell, ExpectationFailed, Verbs
from todoku.cli._output import program
from todoku.lab import LabError, labfile
from todoku.lab.control import Refused


def run(
    *words: str, env: dict[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "todoku", *words],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **(env or {})},
        cwd=cwd,
        check=False,
    )


def verbs() -> list[str]:
    group = cli.todoku
    assert isinstance(group, Verbs)
    return group.list_commands(click.Context(group))


def test_help_lists_the_verbs_and_is_quick_because_it_is_the_first_thing_typed() -> None:
    said = run("--help")
    assert said.returncode == 0
    for verb in ("up", "down", "exec", "shell", "doctor", "kubeconfig"):
        assert f"  {verb} " in said.stdout


def test_the_list_of_verbs_tells_each_on_one_line_of_a_narrow_terminal() -> None:
    lines = run("--help", env={"COLUMNS": "80"}).stdout.splitlines()
    told = [line for line in lines if line.strip().split(" ")[0] in verbs()]
    assert len(told) == len(verbs())
    listed = lines[lines.index("Labs:") :]
    assert len([line for line in listed if line and not line.endswith(":")]) == len(verbs())
    assert not [line for line in listed if "..." in line]


COMMANDS = {
    "as typed": ("./todoku", "", "./todoku"),
    "a path": ("/opt/todoku/todoku", "", "/opt/todoku/todoku"),
    "found on PATH": ("{path}/todoku", "{path}", "todoku"),
    "another one is on PATH": ("./todoku", "{path}", "./todoku"),
}


@pytest.mark.parametrize(("typed", "path", "shown"), COMMANDS.values(), ids=COMMANDS.keys())
def test_commands_to_copy_begin_as_the_user_began(
    typed: str, path: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "todoku").touch(mode=0o755)
    monkeypatch.setenv("PATH", path.format(path=tmp_path))
    monkeypatch.setenv("TODOKU_COMMAND", typed.format(path=tmp_path))
    assert program() == shown


@pytest.mark.parametrize("verb", verbs())
def test_every_verb_explains_itself(verb: str) -> None:
    said = run(verb, "--help")
    assert said.returncode == 0
    assert said.stdout.startswith("Usage: todoku " + verb)


def test_the_version_names_the_kubernetes_it_speaks() -> None:
    assert run("--version").stdout.split() == ["todoku", "0.1.0,", "Kubernetes", "v1.36.0"]


WRONG = {
    "unknown verb": (("lst",), "there is no verb `lst`; did you mean `list`?"),
    "unknown verb far from all": (("zzz",), "there is no verb `zzz`; `todoku --help` lists"),
    "unknown option": (("up", "--fast"), "No such option '--fast'"),
    "missing argument": (("exec",), "Missing argument 'HOST'"),
    "no command": (("exec", "master1"), "which command? `todoku exec HOST -- COMMAND...`"),
    "bad lab name": (("up", "--lab", "../etc"), '"../etc" is no lab name'),
    "no such lab": (
        ("status", "--lab", "never-made"),
        "there is no lab never-made; `todoku up` makes one",
    ),
    "missing lab file": (("up", "-f", "/nowhere/lab.yaml"), "cannot read /nowhere/lab.yaml"),
    "unknown output": (("list", "-o", "xml"), "'xml' is not one of"),
}


@pytest.mark.parametrize(("words", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong_use_exits_2_and_says_what_to_do(words: tuple[str, ...], message: str) -> None:
    said = run(*words)
    assert (said.returncode, said.stdout) == (2, "")
    assert message in said.stderr
    assert "Traceback" not in said.stderr


ENDINGS = {
    "done": (None, 0),
    "an expectation failed": (ExpectationFailed("the page did not answer"), 1),
    "refused": (Refused("no"), 1),
    "wrong use": (click.UsageError("no"), 2),
    "bad input": (LabError("no"), 2),
    "could not tell": (CouldNotTell("the node is off"), 3),
    "the machine refuses": (OSError("disk full"), 3),
    "interrupted": (KeyboardInterrupt(), 130),
}


def test_who_is_not_root_is_told_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    def verb() -> None:
        raise PermissionError(13, "Permission denied", "/run/todoku/default.lock")

    monkeypatch.setattr(Verbs, "get_command", lambda *_: verb)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert cli.run(["verb"]) == 2
    assert "needs root" in capsys.readouterr().err


@pytest.mark.parametrize(("ending", "code"), ENDINGS.values(), ids=ENDINGS.keys())
def test_every_ending_has_its_exit_code(
    ending: BaseException | None, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command()
    def verb() -> None:
        if ending is not None:
            raise ending

    monkeypatch.setattr(Verbs, "get_command", lambda *_: verb)
    assert cli.run(["verb"]) == code


def test_our_own_bugs_show_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def verb() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Verbs, "get_command", lambda *_: verb)
    with pytest.raises(ZeroDivisionError):
        cli.run(["verb"])


def test_the_entry_scripts_option_is_ignored_but_not_behind_two_dashes() -> None:
    assert run("--version", "--no-install").returncode == 0
    said = run("exec", "-L", "never-made", "x", "--", "--no-install")
    assert "which command" not in said.stderr


def test_init_writes_the_default_lab_file_and_keeps_one_that_is_there(tmp_path: Path) -> None:
    assert run("init", cwd=tmp_path).returncode == 0
    written = (tmp_path / "lab.yaml").read_text()
    assert labfile.parse(written) == labfile.default()
    (tmp_path / "lab.yaml").write_text("name: mine\n")
    said = run("init", cwd=tmp_path)
    assert said.returncode == 2
    assert "lab.yaml exists; --force replaces it" in said.stderr
    assert (tmp_path / "lab.yaml").read_text() == "name: mine\n"
    assert run("init", "-").stdout == written


def test_doctor_tells_the_same_in_every_form() -> None:
    table, as_json, as_yaml = (
        run("doctor"),
        run("doctor", "-o", "json"),
        run("doctor", "-o", "yaml"),
    )
    found = json.loads(as_json.stdout)
    assert [one["subject"] for one in yaml.safe_load(as_yaml.stdout)] == [
        one["subject"] for one in found
    ]
    assert all(one["subject"] in table.stdout for one in found)
    assert all(one["remedy"] for one in found if one["level"] != "ok")
    errors = any(one["level"] == "error" for one in found)
    assert {table.returncode, as_json.returncode, as_yaml.returncode} == {int(errors)}


def test_doctor_finds_missing_tools_and_privileges(monkeypatch: pytest.MonkeyPatch) -> None:
    from todoku.lab import checks

    monkeypatch.setattr(checks, "SEARCH_PATH", "/nowhere")
    monkeypatch.setattr(checks, "_effective_capabilities", lambda: 0)
    found = {one.subject: one for one in checks.all_findings()}
    assert (found["conmon"].level, found["conmon"].remedy) == ("error", "apt-get install conmon")
    assert found["crun"].level == "error"
    if os.geteuid() == 0:
        assert found["cap_net_admin"].level == "error"
    else:
        assert found["root"].level == "error"


def test_a_reader_that_leaves_is_no_error() -> None:
    said = subprocess.run(
        f"{sys.executable} -m todoku init - | head -c 1; echo ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (said.stdout.split(), said.stderr) == (["#0"], "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_exits_130(number: signal.Signals, tmp_path: Path) -> None:
    log = tmp_path / "log"
    os.mkfifo(log)  # reading it waits for a writer that never comes
    with subprocess.Popen(
        [sys.executable, "-m", "todoku", "up", "-f", str(log)], stderr=subprocess.PIPE, text=True
    ) as command:
        time.sleep(1)
        command.send_signal(number)
        _, said = command.communicate(timeout=10)
    assert (command.returncode, said.strip()) == (130, "todoku: interrupted")


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    """A kubeconfig such as a lab writes."""
    path = tmp_path / "lab.conf"
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "todoku-x", "cluster": {"server": "https://127.0.0.1:1"}}],
                "users": [{"name": "kubernetes-admin@todoku-x", "user": {}}],
                "contexts": [{"name": "todoku-x", "context": {"cluster": "todoku-x"}}],
                "current-context": "todoku-x",
            }
        )
    )
    return path


def test_merging_a_kubeconfig_keeps_what_was_there_and_replaces_its_own(
    kubeconfig: Path, tmp_path: Path
) -> None:
    from todoku.lab import kubeconfigs

    target = tmp_path / "home" / "config"
    assert kubeconfigs.merge(kubeconfig, target) == "todoku-x"
    merged = yaml.safe_load(target.read_text())
    merged["clusters"].insert(0, {"name": "work", "cluster": {"server": "https://work"}})
    merged["clusters"][1]["cluster"]["server"] = "https://old"
    target.write_text(yaml.safe_dump(merged))
    kubeconfigs.merge(kubeconfig, target)
    again = yaml.safe_load(target.read_text())
    assert [(c["name"], c["cluster"]["server"]) for c in again["clusters"]] == [
        ("work", "https://work"),
        ("todoku-x", "https://127.0.0.1:1"),
    ]
    assert target.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_no_kubeconfig_is_left_alone(kubeconfig: Path, tmp_path: Path) -> None:
    from todoku.lab import kubeconfigs

    target = tmp_path / "other"
    target.write_text("- a list\n")
    with pytest.raises(LabError, match="is no kubeconfig"):
        kubeconfigs.merge(kubeconfig, target)
    assert target.read_text() == "- a list\n"
