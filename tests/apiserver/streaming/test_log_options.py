"""What may be asked of logs, and how the kubelet is asked."""

import pytest

from todoku.api.errors import ApiError
from todoku.apiserver.log_options import kubelet_query

REFUSED = [
    ({"tailLines": "-1"}, "tailLines: Invalid value: -1: must be greater than or equal to 0"),
    ({"limitBytes": "0"}, "limitBytes: Invalid value: 0: must be greater than 0"),
    ({"sinceSeconds": "0"}, "sinceSeconds: Invalid value: 0: must be greater than 0"),
    (
        {"sinceSeconds": "0", "sinceTime": "2026-01-01T00:00:00Z"},
        "[]: Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified",
    ),
    ({"stream": "Stdout"}, "stream: Forbidden: may not be specified"),
]


@pytest.mark.parametrize(("query", "wanted"), REFUSED)
def test_what_makes_no_sense(query, wanted):
    with pytest.raises(ApiError) as refused:
        kubelet_query("web", query)
    assert (refused.value.code, str(refused.value)) == (
        422,
        f'PodLogOptions "web" is invalid: {wanted}',
    )


UNREADABLE = [
    ({"tailLines": "x"}, 'strconv.ParseInt: parsing "x": invalid syntax'),
    (
        {"sinceTime": "x"},
        'parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006"',
    ),
]


@pytest.mark.parametrize(("query", "wanted"), UNREADABLE)
def test_what_cannot_be_read(query, wanted):
    with pytest.raises(ApiError) as refused:
        kubelet_query("web", query)
    assert (refused.value.code, str(refused.value)) == (400, wanted)


def test_how_the_kubelet_is_asked():
    query = {"follow": "1", "previous": "False", "tailLines": "5", "sinceTime": "2026-01-01T01:00:00.5+01:00"}  # fmt: skip
    assert kubelet_query("web", query) == [
        ("follow", "true"), ("tailLines", "5"), ("sinceTime", "2026-01-01T00:00:00Z"),
    ]  # fmt: skip
