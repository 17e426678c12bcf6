"""The recorder: relay, wire file, TLS, HTTP splitters, transcript. No browser in here."""
