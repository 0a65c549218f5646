"""Who answered is read from conntrack's reply tuples."""

from todoku.linux.conntrack import STATUS_DESTINATION_NAT, TCP, Flow, Tuple
from todoku.reach.probe import Tuple5
from todoku.reach.witness import Answer, match

SENT = Tuple5("TCP", "192.168.11.201", 40000, "192.168.11.136", 8080)
ORIGINAL = Tuple("192.168.11.201", "192.168.11.136", TCP, 40000, 8080)
REPLY = Tuple("10.244.1.2", "192.168.11.132", TCP, 80, 31234)
TRANSLATED = Flow(ORIGINAL, REPLY, status=STATUS_DESTINATION_NAT)
PLAIN = Flow(ORIGINAL, Tuple("192.168.11.136", "192.168.11.201", TCP, 8080, 40000))


def test_the_reply_tuple_names_the_backend_and_the_client_it_saw():
    assert match([SENT], [TRANSLATED]) == {SENT: Answer("10.244.1.2", 80, "192.168.11.132", True)}


def test_a_translated_flow_wins_over_one_that_was_only_forwarded():
    for flows in ([PLAIN, TRANSLATED], [TRANSLATED, PLAIN]):
        assert match([SENT], flows)[SENT].backend == "10.244.1.2"


def test_without_any_flow_the_address_itself_answered():
    answer = match([SENT], [])[SENT]
    assert (answer.backend, answer.client) == ("192.168.11.136", "192.168.11.201")
