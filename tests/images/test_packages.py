from todoku.images.packages import Dependency, Package, closure, parse_depends, parse_uris

LISTING = """\
nginx
  Depends: libc6
  PreDepends: zlib1g
 |Depends: debconf
  Depends: <debconf-2.0>
    cdebconf
    debconf
  Depends: <perl:any>
    perl
libc6
  Depends: libgcc-s1
zlib1g
  Depends: libc6
"""


def test_apt_s_listing_becomes_a_graph_with_alternatives_and_providers():
    graph = parse_depends(LISTING)
    assert graph["nginx"] == [
        Dependency(("libc6",)),
        Dependency(("zlib1g",)),
        Dependency(("debconf", "cdebconf", "debconf")),
        Dependency(("perl",)),
    ]
    assert graph["zlib1g"] == [Dependency(("libc6",))]


def test_what_is_left_out_takes_its_own_needs_along():
    graph = {
        "web": [Dependency(("tool",)), Dependency(("lib",))],
        "tool": [Dependency(("deep",))],
        "lib": [],
        "deep": [],
    }
    assert closure(graph, ["web"], set()) == ["deep", "lib", "tool", "web"]
    assert closure(graph, ["web"], {"tool"}) == ["lib", "web"]


def test_the_first_alternative_is_taken_unless_one_is_there_or_left_out():
    graph = {"web": [Dependency(("a", "b"))], "a": [], "b": []}
    assert closure(graph, ["web"], set()) == ["a", "web"]
    assert closure(graph, ["web", "b"], set()) == ["b", "web"]
    assert closure(graph, ["web"], {"b"}) == ["web"]


def test_uris_name_file_size_and_the_hash_when_apt_gives_one():
    listing = (
        "'http://deb.example/pool/a/apache2-bin_2.4%7edeb_amd64.deb' apache2-bin_2.4~deb_amd64.deb 14 SHA256:ab\n"
        "'http://deb.example/b.deb' b.deb 7\n"
    )
    first, second = parse_uris(listing)
    assert first == Package(
        "http://deb.example/pool/a/apache2-bin_2.4%7edeb_amd64.deb",
        "apache2-bin_2.4~deb_amd64.deb",
        14,
        ("sha256", "ab"),
    )
    assert second.hash is None
