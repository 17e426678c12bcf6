from __future__ import annotations

import pytest

from archiver.capture.outcome import CONTENT_CHARS, Facts, judge

URL = "https://news.example/a"


def kind(**facts) -> str:
    return judge(Facts(url=URL, final_url=facts.pop("final_url", URL), **facts)).kind


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Доступ к информационному ресурсу ограничен на основании Федерального закона", "blocked"),
        ("Роскомнадзор: страница внесена в реестр", "blocked"),
        ("Бұл ресурсқа қолжетімділік шектелген", "blocked"),
        ("We removed your post. It may infringe the Giorgio Armani trademark.", "removed"),
        ("Публикация была удалена", "removed"),
        ("Бұл жазба жойылған", "removed"),
        ("This account has been terminated", "removed"),
        ("Log in to continue", "login-wall"),
        ("Войдите, чтобы продолжить", "login-wall"),
        ("Жалғастыру үшін жүйеге кіріңіз", "login-wall"),
        ("Checking your browser before accessing", "challenge"),
        ("Подтвердите, что вы не робот", "challenge"),
        ("This video is not available in your country", "geo-blocked"),
        ("Видео недоступно в вашей стране", "geo-blocked"),
        ("This domain is for sale", "parked"),
        ("Страница не найдена", "not-found"),
        ("Парақша табылмады", "not-found"),
    ],
)
def test_a_short_page_that_is_a_notice_is_told_by_its_words(text, expected):
    """What a page says instead of its content decides, in English, Russian and Kazakh."""
    assert kind(status=200, text=text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Роскомнадзор потребовал удалить статью. " * 60,
        "Meta removed dozens of posts over a trademark claim. " * 60,
        "404 журналиста подписали обращение. " * 60,
        "Войдите, чтобы комментировать. " + "Редакция сообщила подробности дела. " * 60,
    ],
)
def test_an_article_about_a_removal_is_not_a_removal(text):
    """The words of a notice within a page of its own content decide nothing."""
    assert len(text) > CONTENT_CHARS
    assert kind(status=200, text=text) == "captured"


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        (451, "anything", "blocked"),
        (410, "", "removed"),
        (404, "", "not-found"),
        (404, "This post was removed", "removed"),
        (429, "captcha", "rate-limited"),
        (403, "Just a moment... verify you are human", "challenge"),
        (403, "", "unclear"),
        (500, "", "unclear"),
        (503, "", "overloaded"),
        (522, "", "overloaded"),
        (401, "", "login-wall"),
    ],
)
def test_a_status_decides_unless_the_page_says_more(status, text, expected):
    """A page's notice goes before a bare status; a status that no rule knows is unclear, not guessed."""
    assert kind(status=status, text=text) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("net::ERR_NAME_NOT_RESOLVED at x", "unreachable"),
        ("net::ERR_CONNECTION_RESET at x", "unreachable"),
        ("net::ERR_SOCKS_CONNECTION_FAILED at x", "unreachable"),
        ("net::ERR_CERT_DATE_INVALID at x", "certificate"),
        ("net::ERR_SSL_PROTOCOL_ERROR at x", "certificate"),
        ("net::ERR_TOO_MANY_REDIRECTS at x", "unclear"),
        ("net::ERR_SOMETHING_NEW at x", "failed"),
    ],
)
def test_a_load_that_failed_is_told_by_the_browsers_error(error, expected):
    """Transport goes before everything else."""
    assert kind(load_error=error, is_shown=False) == expected


def test_an_address_that_leads_to_a_login_page_is_a_login_wall():
    """A redirect to a login path is a wall, unless the login page itself was asked for."""
    login = "https://news.example/login?next=/a"
    assert kind(status=200, final_url=login, text="x" * 3000) == "login-wall"
    assert judge(Facts(url=login, final_url=login, status=200, text="x" * 3000)).kind == "captured"


def test_our_own_refusal_and_crash_are_ours():
    """What this collector did is never laid at the other side's door."""
    assert kind(refused_by_guard=True, load_error="net::ERR_SOCKS_CONNECTION_FAILED") == "failed"
    assert kind(crashed="the browser's process ended", status=200) == "failed"


def test_nothing_received_and_no_error_is_unclear():
    """Absence of signals is not a capture."""
    assert kind(is_shown=False) == "unclear"
    assert kind(is_shown=False, status=200) == "unclear"
    assert kind(is_shown=False, status=200, is_document=True) == "captured"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(451, "blocked"), (404, "not-found"), (503, "overloaded"), (429, "rate-limited")],
)
def test_an_error_status_without_a_body_is_an_answer_and_no_failure_of_ours(status, kind):
    """For an empty answer the browser shows a page of its own and reports an error: the server answered."""
    error = "net::ERR_HTTP_RESPONSE_CODE_FAILURE at https://site.example/"
    found = judge(Facts(url="https://site.example/", status=status, load_error=error))
    assert found.kind == kind
    assert judge(Facts(url="https://site.example/", load_error=error)).kind == "failed"
