import pytest

from archiver.incidents.document import Document, Paragraph, Run
from archiver.incidents.drafting import draft, first_sentence
from archiver.incidents.importers.from_markdown import read
from archiver.incidents.quarters import Quarter
from archiver.incidents.wording import named, proposed_role

Q1 = Quarter(2026, 1)


def drafted(text):
    return draft(read(text.encode()), Q1)


def brief(found):
    """Section, month and first words of each incident."""
    return [(one.section, one.month, one.text[:12]) for one in found.incidents]


def test_months_stand_alone_or_run_in_and_end_with_their_section():
    """A month as a heading and one before a full stop are the same; a new section knows no month."""
    found = drafted(
        "1. First\n\nJanuary\n\n[A](http://a.test) one.\n\n**February.** [B](http://b.test) two.\n\n"
        "### March 2026\n\n[C](http://c.test) three.\n\n2. Second\n\n[D](http://d.test) four."
    )
    assert brief(found) == [
        (1, "2026-01", "A one."),
        (1, "2026-02", "B two."),
        (1, "2026-03", "C three."),
        (2, "", "D four."),
    ]


@pytest.mark.parametrize("month", ["Январь", "ЯНВАРЬ.", "Қаңтар", "January:", "январь 2026 г."])
def test_months_are_known_in_three_languages(month):
    """A report in Russian or Kazakh is read by the same rules."""
    assert drafted(f"1. Бөлім\n\n{month}\n\n[A](http://a.test) x.").incidents[0].month == "2026-01"


def test_a_month_that_begins_a_sentence_is_none():
    """``March 8 was`` and ``May`` as a verb divide nothing."""
    found = drafted("1. S\n\nJanuary\n\n[A](http://a.test) x.\n\nMarch 8 was [B](http://b.test).")
    assert [one.month for one in found.incidents] == ["2026-01", "2026-01"]


def test_a_month_outside_the_quarter_is_told():
    """A heading that cannot be right is kept as written, and a person hears of it."""
    found = drafted("1. S\n\nMay\n\n[A](http://a.test) x.")
    assert found.incidents[0].month == "2026-05"
    assert "outside the quarter 2026-Q1" in found.notes[0]


@pytest.mark.parametrize(
    ("paragraph", "begins"),
    [
        ("[He](http://b.test) was fined.", False),
        ("Furthermore, [a fine](http://b.test) was imposed.", False),
        ("Кроме того, суд оштрафовал издание.", False),
        ("По его словам, этого не было.", False),
        ("The notifications cited a violation.", False),
        ("The Prosecutor's Office noted that it is so.", False),
        ("A few days later, Meta restored the posts.", False),
        ("Imanov, who was there, left.", False),
        (
            "‘The law continues to be improved, and it is planned to make it better still,’ he said.",
            False,
        ),
        ("Another [case](http://b.test) was opened.", True),
        ("On 28 January, a reporter was beaten.", True),
        ("28 января журналиста избили.", True),
        ("KomTransLeasing LLP has filed a lawsuit.", True),
        ("Press.kz journalist Zhania Urankaeva was stopped.", True),
        ("Журналистка Жания Уранкаева рассказала об этом.", True),
        ("The weekly newspaper ‘Nasha Gazeta’ received a claim.", True),
        ("Meta removed dozens of posts.", True),
    ],
)
def test_what_begins_an_incident_and_what_goes_on(paragraph, begins):
    """A paragraph without a link is news when it names whom or when in full, else it goes on."""
    found = drafted(f"1. S\n\nJanuary\n\n[Journalist Tolegen Imanov](http://a.test) spoke.\n\n{paragraph}")
    assert (len(found.incidents) == 2) is begins


def test_a_sentence_that_a_page_broke_is_joined_and_a_whole_one_is_not():
    """A small letter, or a line that ends with an article or comma, is the rest of a sentence."""
    found = drafted(
        "1. S\n\nJanuary\n\n"
        "[A](http://a.test) called on the\n\nMinistry to act, and\n\nto [act](http://b.test) now."
        "\n\n[B](http://c.test) without a full stop\n\n[C](http://d.test) as well"
    )
    assert [one.text for one in found.incidents] == [
        "A called on the Ministry to act, and to act now.",
        "B without a full stop",
        "C as well",
    ]


def test_a_table_of_contents_is_not_taken_for_the_sections():
    """Sections named twice begin where they come the second time."""
    found = drafted(
        "1. First .... 2\n\n2. Second .... 5\n\nPreface.\n\n"
        "1. First\n\n[A](http://a.test) x.\n\n2. Second\n\n[B](http://b.test) y."
    )
    assert brief(found) == [(1, "", "A x."), (2, "", "B y.")]
    assert "Preface." in found.outside


def test_a_numbered_list_within_an_incident_begins_no_section():
    """Only the number that follows the last section's does."""
    found = drafted(
        "1. S\n\n[A](http://a.test) demands:\n\n1. freedom;\n\n2. Second\n\n[B](http://b.test) y."
    )
    assert [one.section for one in found.incidents] == [1, 2]


def test_headings_without_numbers_are_numbered():
    """A document whose sections are headings alone has them numbered in order; its title is none."""
    found = drafted(
        "# Barometer\n\n## Law\n\n[A](http://a.test) x.\n\n## Net\n\n### January\n\n[B](http://b.test) y."
    )
    assert brief(found) == [(1, "", "A x."), (2, "2026-01", "B y.")]
    assert [one.title for one in found.sections] == ["Law", "Net"]


def test_a_document_without_sections_has_no_incidents():
    """Nothing is guessed: the caller says what is missing."""
    assert drafted("Only [a text](http://a.test).").incidents == ()


def test_addresses_in_the_text_are_links_and_mail_addresses_are_none():
    """What people paste as plain text is a link too; an address to write to is no page."""
    found = drafted(
        "1. S\n\nJanuary\n\nOn 2 January it was (see https://a.test/x_(y).) and [mail](mailto:a@b.test) us."
    )
    (link,) = found.incidents[0].links
    assert (link.anchor, link.url) == ("https://a.test/x_(y)", "https://a.test/x_(y)")


@pytest.mark.parametrize(
    "target", ["#", "", "#top", "javascript:void(0)", "file:///C:/a.html", "about:blank"]
)
def test_a_target_inside_the_document_is_lost(target):
    """Nothing outside can be reached by it."""
    runs = (Run("one", target), Run(" two."))
    document = Document("x", (Paragraph((Run("1. S"),)), Paragraph(runs)))
    (link,) = draft(document, Q1).incidents[0].links
    assert (link.anchor, link.url, link.target) == ("one", "", target)


def test_outlets_and_platforms_are_named_in_both_languages():
    """Spellings and endings lead to one name, in the order of the text; a mail address names nothing."""
    outlets, platforms = named(
        "«Власть» и Наша Газета в Фейсбуке и Телеграм-канале, KazTAG on X; x@gmail.com, taraznews.kz"
    )
    assert outlets == ("Vlast", "Nasha Gazeta", "KazTAG", "Taraznews.kz")
    assert platforms == ("Facebook", "Telegram", "X")
    assert named("www.newsite.kz и Власть имущие, время идёт") == (("newsite.kz",), ())


@pytest.mark.parametrize(
    ("anchor", "url", "role"),
    [
        ("reported", "https://vlast.kz/a", "source"),
        ("закон", "https://adilet.zan.kz/rus/docs/K1", "official"),
        ("response", "https://www.gov.kz/memleket/x", "official"),
        ("скриншоты", "https://vlast.kz/a", "screenshot"),
        ("here", "https://files.lmc.kz/a.PNG", "screenshot"),
        ("удалённый пост", "https://facebook.com/1", "removed"),
        ("published an open letter", "https://lmc.kz/1", "reaction"),
        ("not gov", "https://notgov.kz/", "source"),
    ],
)
def test_a_role_is_proposed_by_address_and_words(anchor, url, role):
    """Only what the address or the link's own words say; everything else is a source."""
    assert proposed_role(anchor, url) == role


def test_a_title_is_the_first_sentence():
    """Names of companies and numbers do not end it; a long one is cut at a word."""
    assert (
        first_sentence("The case of A LLP v. B was No. 2 today. Then more.")
        == "The case of A LLP v. B was No. 2 today."
    )
    assert first_sentence("word " * 100).endswith("word…")
    assert len(first_sentence("word " * 100)) <= 161
