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


def test_a_masqueraded_pod_is_followed_to_the_node_that_translates():
    sent = Tuple5("TCP", "10.244.1.9", 50000, "192.168.11.132", 30080)
    own_node = Flow(
        Tuple("10.244.1.9", "192.168.11.132", TCP, 50000, 30080),
        Tuple("192.168.11.132", "192.168.11.131", TCP, 30080, 61000),
    )
    other_node = Flow(
        Tuple("192.168.11.131", "192.168.11.132", TCP, 61000, 30080),
        Tuple("10.244.0.2", "10.244.0.1", TCP, 80, 33333),
        status=STATUS_DESTINATION_NAT,
    )
    answer = match([sent], [other_node, own_node])[sent]
    assert (answer.backend, answer.port, answer.client) == ("10.244.0.2", 80, "10.244.0.1")
