from todoku.api.jsonpath import find, parse


def test_descending_again_and_again_ends():
    value = {"a": 1}
    for _ in range(60):
        value = {"a": value}
    wanted = value
    for _ in range(30):
        wanted = wanted["a"]
    found = find(parse("..a" * 30), value)
    assert found[0] == wanted
    assert len(found) < 60 * 60
