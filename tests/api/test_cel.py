import pytest

from todoku.api.cel import CelError, compile_expression, to_cel

SELF = {"a": 1, "f": 1.5, "items": [1, 2, 2], "m": {"k": "v"}, "n": None, "s": "abc"}


def evaluate(text, **bindings):
    return compile_expression(text, tuple(sorted(bindings) or ("self",))).evaluate(
        bindings or {"self": SELF}
    )


@pytest.mark.parametrize(
    "text",
    [
        "self.a == 1",
        "has(self.a) && !has(self.b)",
        "self.items.all(x, x > 0) && self.items.exists(x, x == 2)",
        "self.m.all(k, v, v != '')",
        "self.?b.orValue(5) == 5",
        "'%d'.format([self.a]) == '1'",
        "cel.bind(x, self.a, x + 1) == 2",
        "self.s.matches('^a')",
        "self.s.startsWith('a') && size(self.items) == 3",
        "self.items.isSorted() && self.items.sum() == 5 && self.items.max() == 2 && self.items.min() == 1",
        "self.items.indexOf(2) == 1 && self.items.lastIndexOf(2) == 2 && 'abc'.indexOf('b') == 1",
        "'a1b22'.find('[0-9]+') == '1' && 'a1b22'.findAll('[0-9]+') == ['1', '22']",
        "isURL('https://x.io:80/p?q=1') && !isURL('x y')",
        "url('https://x.io:80/p?q=1').getPort() == '80' && url('https://x.io/p').getHost() == 'x.io'",
        "url('https://x.io/p?q=1').getQuery() == {'q': ['1']} && url('/p').getEscapedPath() == '/p'",
        "isIP('10.0.0.1') && !isIP('10.0.0.256') && ip('::1').family() == 6",
        "ip('127.0.0.1').isLoopback() && ip.isCanonical('::1') && ip('10.0.0.1').isGlobalUnicast()",
        "isCIDR('10.0.0.0/8') && cidr('10.0.0.0/8').containsIP('10.1.2.3')",
        "cidr('10.0.0.0/8').containsCIDR(cidr('10.1.0.0/16')) && cidr('10.1.0.0/16').prefixLength() == 16",
        "cidr('10.1.2.3/16').masked() == cidr('10.1.0.0/16') && cidr('10.0.0.0/8').ip() == ip('10.0.0.0')",
        "isQuantity('1Gi') && !isQuantity('x')",
        "quantity('1Gi').isGreaterThan(quantity('1G')) && quantity('1').compareTo(quantity('1000m')) == 0",
        "quantity('1').add(quantity('500m')) == quantity('1500m') && quantity('2').sub(1).asInteger() == 1",
        "isSemver('1.2.3') && semver('1.2.3').isLessThan(semver('1.10.0')) && semver('1.2.3').minor() == 2",
        "semver('1.0.0-alpha').isLessThan(semver('1.0.0'))",
        "semver('v1.02', true).compareTo(semver('1.2.0')) == 0 && isSemver('v01', true) && !isSemver('v1', false)",
        "!isSemver('1.2-beta', true) && semver('0.00.3', true).patch() == 3",
        "isCIDR('10.0.0.0/8') && !isCIDR('10.0.0.0/255.0.0.0') && !isCIDR('10.0.0.0/08') && !isCIDR('10.0.0.0')",
        "!isCIDR('::ffff:10.0.0.0/104') && isCIDR('fd00::/8')",
        r"'日本 x1'.find('[[:alpha:]][0-9]') == 'x1' && 'aXbX'.findAll('(?i)x', 1) == ['X']",
        "duration('1h').getHours() == 1 && timestamp('2026-01-01T00:00:00Z').getFullYear() == 2026",
        "sets.contains(self.items, [1]) && 'a-b'.split('-') == ['a', 'b']",
    ],
)
def test_expressions_hold(text):
    assert evaluate(text) is True


@pytest.mark.parametrize("text", ["1 +", "unknown == 1", "self.a ==", "nothing(self)"])
def test_expressions_that_do_not_compile(text):
    with pytest.raises(CelError, match="compilation failed"):
        compile_expression(text, ("self",))


@pytest.mark.parametrize(
    "text", ["self.b == 1", "quantity('x') == quantity('1')", "self.items[9] == 1", "1 / 0 == 1"]
)
def test_evaluations_that_fail(text):
    with pytest.raises(CelError):
        evaluate(text)


def test_values_follow_their_schema():
    schema = {
        "type": "object",
        "properties": {
            "a-b": {"type": "string"},
            "n": {"type": "number"},
            "t": {"type": "string", "format": "date-time"},
            "d": {"type": "string", "format": "duration"},
            "in": {"type": "integer"},
        },
    }
    value = to_cel({"a-b": "x", "n": 1, "t": "2026-01-01T00:00:00Z", "d": "90s", "in": 3}, schema)
    text = "self.a__dash__b == 'x' && self.n == 1.0 && self.t.getMonth() == 0 && self.d == duration('1m30s') && self.__in__ == 3"
    assert evaluate(text, self=value) is True


@pytest.mark.parametrize(
    "text",
    [
        "!format.dns1123Label().validate('web').hasValue()",
        "format.dns1123Label().validate('Web').value().size() == 1",
        "format.named('uuid').value().validate('x').orValue(['']) == ['does not match the UUID format']",
        "!format.named('nothing').hasValue()",
        "format.dns1123LabelPrefix().validate('web-') == optional.none()",
        "'a validate(b)'.size() == 13 && format.date().validate('2026-01-01') == optional.none()",
        "jsonpatch.escapeKey('a/b~c') == 'a~1b~0c'",
        "self.items.transformList(i, v, i + v) == [1, 3, 4]",
        "semver('1.2.3').compareTo(semver('1.2.3')) == 0",
    ],
)
def test_the_libraries_of_kubernetes(text):
    assert evaluate(text) is True
