"""What a person may write to name a store."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from storage.errors import InvalidStoreUrl, StoreRefused
from storage.folder import FolderStore
from storage.open import open_store
from storage.s3 import S3Store

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    "name",
    ["archive", "a b", "a:b", "100%", "#1?x=y", "s3:", "Архів", "~", "-rf", "new\nline", "l\udce9"],
)
def test_a_path_is_taken_as_it_is(tmp_path, monkeypatch, name):
    """Whatever characters a folder's name has, it is that folder."""
    monkeypatch.chdir(tmp_path)
    store = open_store(name)
    assert isinstance(store, FolderStore)
    store.put("k", b"x")
    assert (tmp_path / name / "k").read_bytes() == b"x"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a\0b",
        "http://example.org/bucket",
        "file:///tmp/x",
        "S3://bucket",
        "gs://bucket/x",
        "s3://",
        "s3:///prefix",
        "s3://ab",
        "s3://-bucket/x",
        "s3://bu cket/x",
        "s3://bucket?versionId=1",
        "s3://user:secret@bucket/x",
        "s3://@bucket/x",
        "s3://a b@bucket",
        "s3://bucket//x",
        "s3://bucket/a//b",
        "s3://bucket/../x",
        "s3://bucket/.hidden",
        "s3://bucket/" + "x" * 201,
        "s3://" + "b" * 256,
    ],
    ids=ascii,
)
def test_what_names_no_store_is_refused(url):
    """A URL that can name no store is a usage error with a hint, before anything is asked of anybody."""
    with pytest.raises(InvalidStoreUrl, match="E624") as caught:
        open_store(url)
    assert caught.value.hint
    assert str(caught.value).isprintable()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "bucket", "prefix"),
    [
        ("s3://bucket", "bucket", ""),
        ("s3://bucket/", "bucket", ""),
        ("s3://bucket/a/b", "bucket", "a/b/"),
        ("s3://my.bucket-1/a b/", "my.bucket-1", "a b/"),
    ],
)
def test_s3_urls_have_a_bucket_and_a_prefix(url, bucket, prefix):
    """``s3://bucket/prefix`` is a store under that prefix, with or without a final slash."""
    store = open_store(url)
    assert isinstance(store, S3Store)
    assert (store.bucket, store.prefix) == (bucket, prefix)


def test_a_folder_needs_no_boto3(tmp_path):
    """Where boto3 is not installed a folder works, and an S3 store is refused with a hint."""
    (tmp_path / "boto3.py").write_text("raise ModuleNotFoundError('boto3')")
    script = (
        "from storage.open import open_store\n"
        "open_store('folder').put('k', b'x')\n"
        "try: open_store('s3://bucket')\n"
        "except Exception as exc: print(type(exc).__name__, exc.code, exc.hint)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
    )
    assert done.stdout.split(" ", 2)[:2] == [StoreRefused.__name__, "E623"]
    assert "pip install boto3" in done.stdout
