"""Stores on S3: the one package that imports boto3."""

from storage.s3.client import connect
from storage.s3.store import S3Store

__all__ = ["S3Store", "connect"]
