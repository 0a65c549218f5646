"""What reach, trace, graph and explain say to wrong input; nothing of a lab is needed to say it."""

import pytest

from todoku.cli import WRONG_USE, run

ROWS = [
    ("no such lab", ["reach", "--lab", "nowhere", "svc/web"], "there is no lab nowhere"),
    ("no kind of address", ["reach", "--at", "sideways"], "sideways is no kind of address"),
    ("no target", ["trace", "master1", "web"], "is no target"),
    ("no port", ["trace", "master1", "svc/web:0"], "is no port"),
    ("no code", ["explain", "CLUSTERIP_INSIDE_ONLYY"], "did you mean CLUSTERIP_INSIDE_ONLY?"),
    ("no verb", ["reech"], "did you mean `reach`?"),
    ("a lab's name is no path", ["reach", "--lab", "../etc"], "is no lab name"),
    ("too many requests", ["reach", "--requests", "100000"], "1<=x<=1000"),
]


@pytest.mark.parametrize(("words", "said"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_wrong_use_is_named(words, said, capsys):
    assert run(words) == WRONG_USE
    assert said in capsys.readouterr().err


def test_every_code_is_explained_in_three_ways(capsys):
    from todoku.reach.outcome import EXPLANATIONS, Code

    assert set(EXPLANATIONS) == set(Code)
    assert run(["explain", "lb_pending"]) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines() if line] == [
        "LB_PENDING",
        "What",
        "Why",
        "Change",
    ]
