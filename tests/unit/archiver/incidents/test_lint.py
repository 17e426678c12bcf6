import json

import pytest

from archiver.cli.main import run
from archiver.incidents.addresses import advice, normal_form


def kinds(url):
    return {one.kind: one.proposal for one in advice(url)}


@pytest.mark.parametrize(
    ("url", "kind", "proposal"),
    [
        ("https://t.me/vlast_kz/12", "telegram", "https://t.me/s/vlast_kz/12"),
        ("https://telegram.me/vlast_kz", "telegram", "https://t.me/s/vlast_kz"),
        ("https://t.me/+AbC", "login-only", ""),
        ("https://t.me/c/12/3", "login-only", ""),
        ("https://m.facebook.com/groups/1/posts/2", "login-only", ""),
        ("https://instagram.com/stories/x/1/", "login-only", ""),
        ("https://kz.linkedin.com/posts/x", "login-only", ""),
        ("https://clck.ru/abc", "shortened", ""),
        ("https://vk.cc/abc", "shortened", ""),
        ("https://www.google.kz/search?q=a", "search", ""),
        ("https://a.test/?utm_source=x&id=7&fbclid=%20", "tracking", "https://a.test/?id=7"),
        ("https://www.instagram.com/p/a/?igsh=M%3D", "tracking", "https://www.instagram.com/p/a/"),
        ("https://youtu.be/a?t=5&si=x", "tracking", "https://youtu.be/a?t=5"),
        ("http://a.test/http", "insecure", "https://a.test/http"),
        ("https://l.facebook.com/l.php?u=https%3A%2F%2Fa.test%2Fb&h=1", "wrapped", "https://a.test/b"),
        ("ftp://a.test/", "bad-url", "begin it with http:// or https://"),
    ],
)
def test_an_address_that_will_not_do_is_told_with_another(url, kind, proposal):
    """Nothing but what is proposed differs from what was written."""
    assert kinds(url) == {kind: proposal}


@pytest.mark.parametrize(
    "url",
    [
        "https://t.me/s/vlast_kz/12",
        "https://vlast.kz/novosti/1?id=2&si=3",
        "https://www.facebook.com/x/posts/1",
        "https://not-bit.ly/a",
        "https://a.test/t.me/x?url=https://t.co/a",
        "https://x.com/user/status/1",
    ],
)
def test_a_good_address_is_left_alone(url):
    """No false alarm on what can be captured as it is."""
    assert kinds(url) == {}


def test_addresses_of_one_page_have_one_normal_form():
    """Scheme, www, m, tracking, last slash and Telegram's preview make no difference; a query does."""
    assert (
        len(
            {
                normal_form(f"{start}a.test/x{end}")
                for start in ("http://", "https://www.", "https://m.")
                for end in ("", "/", "?utm_medium=1", "#top")
            }
        )
        == 1
    )
    assert normal_form("https://t.me/s/abcd/1") == normal_form("http://t.me/abcd/1")
    assert normal_form("https://a.test/x?id=1") != normal_form("https://a.test/x?id=2")


def test_a_register_is_looked_through_and_not_touched(tmp_path, capfd):
    """Duplicates, dead IDs, gone IDs, incidents without links and lost targets, by line; exit code 3."""
    source = tmp_path / "d.md"
    source.write_text(
        "1. S\n\nJanuary\n\n[One](https://a.test/1) was fined.\n\nOn 2 January it rained.\n\n[Two](#) fell."
    )
    register = tmp_path / "r.csv"
    words = ["--country", "KZ", "--quarter", "2026-Q1", "-o", str(register)]
    assert run(["incidents", "import", str(source), *words]) == 0
    with register.open("a", newline="") as file:
        for row in (
            "KZ-2026-Q1-1.01,https://a.test/1",
            "KZ-2026-Q1-1.01,http://www.a.test/1/",
            "KZ-9,https://b.test/",
        ):
            incident, url = row.split(",")
            file.write(f"{incident},1,,,x,{url},source,,,\n")
        file.write('KZ-2026-Q1-1.01,1,,,x,"https://c.test/" x,source,,,\n')
    before = register.read_bytes()
    capfd.readouterr()
    assert run(["incidents", "lint", str(register), "--json"]) == 3
    found = json.loads(capfd.readouterr().out)
    assert [(one["kind"], one["line"]) for one in found["findings"]] == [
        ("target-lost", 3),
        ("duplicate", 4),
        ("near-duplicate", 5),
        ("insecure", 5),
        ("dead-id", 6),
        ("broken-row", 7),
        ("no-links", 0),
    ]
    assert run(["incidents", "lint", str(register)]) == 3
    assert "r.csv: line 4: duplicate: KZ-2026-Q1-1.01" in capfd.readouterr().out
    assert register.read_bytes() == before


def test_a_clean_register_ends_with_0(tmp_path, capfd):
    """Without a sidecar only what the register itself says is looked at."""
    register = tmp_path / "r.csv"
    register.write_text("incident_id,url,role\nA-1,https://a.test/,anything\n")
    assert run(["incidents", "lint", str(register)]) == 0
    assert "nothing to look at" in capfd.readouterr().err
