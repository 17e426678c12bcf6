"""WARC, CDXJ and WACZ. Bytes and files only; no browser."""
