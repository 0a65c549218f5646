import pytest

from todoku.api import names, times


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"), (0, "0s"), (119, "119s"), (120, "2m"), (125, "2m5s"), (600, "10m"), (10_000, "166m"),
        (3 * 3600, "3h"), (3 * 3600 + 60, "3h1m"), (26 * 3600, "26h"), (48 * 3600, "2d"),
        (3 * 86400 + 4 * 3600, "3d4h"), (9 * 86400, "9d"), (800 * 86400, "2y70d"), (3650 * 86400, "10y"),
    ],
)  # fmt: skip
def test_age_as_kubectl_prints_it(seconds, text):
    assert times.age(seconds) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:10Z", 10),
        ("1970-01-01T01:00:10+01:00", 10),
        ("1970-01-01T00:00:10.5Z", 10.5),
    ],
)
def test_rfc3339(text, seconds):
    assert times.parse(text) == seconds


@pytest.mark.parametrize("text", ["", "now", "2020-13-01T00:00:00Z", "2020-01-01 00:00:00"])
def test_other_times_are_refused(text):
    with pytest.raises(ValueError):
        times.parse(text)


def test_time_texts():
    assert times.text(10.9) == "1970-01-01T00:00:10Z"
    assert times.micro_text(10.25) == "1970-01-01T00:00:10.250000Z"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1h30m", 5400), ("1.5s", 1.5), ("250ms", 0.25), ("-3s", -3), ("0", 0), ("720h0m0s", 2592000)],
)
def test_durations(text, seconds):
    assert times.parse_duration(text) == seconds
    assert times.parse_duration(times.duration_text(seconds)) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5400, "1h30m0s"), (1.5, "1.5s"), (0.25, "250ms"), (0, "0s"), (60, "1m0s")],
)
def test_duration_texts(seconds, text):
    assert times.duration_text(seconds) == text


def test_generated_names_fit_a_label():
    name = names.generate("x" * 100)
    assert len(name) == 63
    assert set(name[-5:]) <= set(names.ALPHABET)


def test_equal_templates_have_equal_hashes():
    one = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}}
    other = {"spec": {"containers": []}, "metadata": {"labels": {"a": "b"}}}
    assert names.template_hash(one) == names.template_hash(other)
    assert names.template_hash(one) != names.template_hash(one, collision_count=1)
    assert set(names.template_hash(one)) <= set(names.ALPHABET)
