from __future__ import annotations

import pytest

from tests.browser.conftest import Bench
from tests.outcomes.corpus import pages
from tests.outcomes.serving import serve

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("outcomes")]

SAMPLE = (
    "provider-stub-149fz-ru",
    "status-451-empty",
    "faces-post-trademark-ru",
    "youtube-channel-terminated-en",
    "telegram-channel-tos-en",
    "facebook-redirect-login-ru",
    "cloudflare-just-a-moment",
    "rate-429-plain",
    "maintenance-ru-200",
    "news-soft-404-kk",
    "parked-sale-kk",
    "youtube-uploader-country-en",
    "comments-deleted-ru",
    "tg-channel-about-bans-kk",
    "instagram-post-login-dialog-en",
    "unclear-404-with-whole-article-ru",
)


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory):
    """The sample served over loopback and captured by the command, by name."""
    folder = tmp_path_factory.mktemp("outcomes")
    sample = [page for page in pages() if page.name in SAMPLE]
    with serve(sample, folder) as options:
        bench = Bench(folder, sites=None)
        words = ["capture", *(page.url for page in sample), "--incident", "T-1", *options]
        told = bench.run(*words, code=3)["captures"]
    by_url = {one["url"]: bench.record(one) for one in told}
    return {page.name: (page, by_url[page.url]) for page in sample}


@pytest.mark.parametrize("name", SAMPLE)
def test_a_page_in_the_pipeline_is_told_as_in_the_corpus(captured, name):
    """What the rules see of a real load is what they see of the page on paper: label, signals and all."""
    page, record = captured[name]
    outcome = record["outcome"]
    assert (outcome["kind"], record["target"]["http_status"]) == (page.label, page.status), outcome
    assert outcome["signals"] or page.label == "captured"
