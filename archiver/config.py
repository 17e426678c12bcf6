"""Settings: one TOML file, the environment, options, in that order of rising strength.

The file is ``--config``, else ``$ARCHIVER_CONFIG``, else ``./archiver.toml``, else
``$XDG_CONFIG_HOME/archiver/archiver.toml``. A variable is ``ARCHIVER_`` and the key in upper case, its
table before it: ``ARCHIVER_VIEW_WIDTH_PX``; lists are separated by commas. A relative path in the file
is taken from the folder of the file.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from archiver.batch.settings import Batch, Mementos, Notify, Vantage
from archiver.capture.limits import Limits, View
from archiver.capture.recorder.resolve import parse_name_server, parse_resolve_rule
from archiver.errors import UsageError
from storage.retention import MAX_RETENTION_DAYS

MAX_CONFIG_BYTES = 256 * 1024
MAX_MS = 24 * 3600 * 1000
FILE_NAME = "archiver.toml"
PREFIX = "ARCHIVER_"
NOT_SETTINGS = frozenset(
    {"CONFIG", "DEBUG", "KEY_PASSPHRASE", "CERTIFICATE_PASSPHRASE", "SESSION_PASSPHRASE"}
)
"""Variables that other parts read."""

Line = Annotated[str, Meta(max_length=4_096)]
VantageName = Annotated[str, Meta(pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", max_length=64)]
StoreName = Annotated[str, Meta(min_length=1, max_length=4_096)]

_VIEW_RANGES = {"width_px": (200, 7_680), "height_px": (200, 8_192), "scale_percent": (50, 400)}
_LOCALE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
_TIMEZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*")


class Retention(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long stores keep what is put into them.

    Args:
        mode: ``governance`` can be lifted by an administrator with a special permission, ``compliance`` by
            nobody before the date, ``none`` leaves it to the store.
        days: From the moment an object is stored; 3,653 are ten years.
    """

    mode: Literal["governance", "compliance", "none"] = "governance"
    days: Annotated[int, Meta(ge=1, le=MAX_RETENTION_DAYS)] = 3_653


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one installation has set.

    Args:
        store: A folder or ``s3://bucket/prefix``.
        stores: Several of them instead, each to hold everything; the first also keeps the custody log.
        quorum: In how many of *stores* a capture must be confirmed to count as preserved.
        spool: Folder for captures in the making, which needs the room of a few captures.
        jobs: Pages captured at once.
        operator: Who runs the captures: fixed in the record by a salted digest, told in the annex alone.
        access_ip: Address that the network provider gave, likewise.
        organisation: On whose behalf; empty for not stated.
        vantage: Name of the place that pages are seen from.
        vantage_country: Country of the network exit, two letters of ISO 3166-1; empty for not stated.
        vantage_place: Place of the machine, in words; empty for not stated.
        purpose: Why captures are made, for the record; empty for not stated.
        by_whom: Who makes the recordings, for the record's statement (Kazakhstan, CPC article 99(2)).
        conditions: In what conditions: place, device, network; likewise.
        circumstances: In what circumstances: how pages come to notice, what is done; likewise.
        not_before_source: Where a fresh public value comes from that bounds captures from below: ``drand`` or
            ``tlog-checkpoint``; empty for none.
        not_before_url: Of its latest round or checkpoint.
        browser: Path of a Chromium or Chrome; empty to look for one.
        behaviours: Act on pages between two screenshots: close overlays, expand, load more, play; recorded.
        user_agent: Sent instead of the browser's own; empty for its own.
        ca_files: PEM files of further roots that are trusted for TLS; recorded.
        resolve: Rules ``HOST[:PORT]:ADDRESS``, the first that matches wins; recorded.
        allow_private_network: Let captures reach private and loopback addresses; recorded.
        allowed_addresses: Addresses and networks (``10.1.2.0/24``) that captures may reach whatever they are;
            recorded.
        upstream: Proxy to dial through (``socks5://``, ``socks5h://``, ``http://``); empty for none.
        resolver: Name server to ask in place of the system's, by its address; recorded.
        ntp_servers: Asked for the time; with none the clock is recorded as not checked.
        key: Signing key: a private key file, or the ``.pub`` file of a key that ssh-agent holds; empty for
            ``keys/record`` in the configuration folder. Without a key captures stay unsealed.
        key_passphrase_file: File with the passphrase, 0600; empty to ask, or to take it from
            ``ARCHIVER_KEY_PASSPHRASE``.
        certificate: Certificate of the organisation that signs records too (CAdES): a PKCS#12 file, or
            ``pkcs11:token=NAME;object=LABEL?module-path=FILE``; empty for none. It asks a time stamping
            authority once for each capture.
        certificate_passphrase_file: File with its passphrase or PIN, 0600; empty to take it from
            ``ARCHIVER_CERTIFICATE_PASSPHRASE``.
        trust: Trust file; empty for ``trust.toml`` in the configuration folder.
        tsa: Known time stamping authorities that a new trust file begins with.
        publish: Places that get the custody log's newest checkpoint once a day: folders, ``s3://bucket/prefix``,
            or addresses that take a POST.
        publish_calendar: OpenTimestamps calendar that is to anchor it too; empty for none.
        recipients: Public keys, age's or SSH's, that captures are encrypted to; empty to store them in plain.
        media: When yt-dlp fetches video and sound of a page: ``off``, ``platforms`` that it knows, or
            ``always``; recorded.
        session: Name of a kept session that captures use; empty for none. A register's column ``session``
            goes before it.
        session_recipients: Public keys, age's or SSH's, that the originals of captures behind a login are
            encrypted to; in clear such captures are stored without the secrets of the session.
        annex_recipients: Public keys, age's or SSH's, that may open who made a capture, beside the annex key
            of this installation.
        counsel_redacted: Make bundles for counsel like those for the public.
        actor: Pseudonym under which the custody log names who acts here.
        view: How the browser presents itself.
        limits: Budgets of one capture.
        retention: How long stores keep captures.
        batch: How runs treat servers, and how long they try.
        vantages: Named places that pages can be seen from, by name.
        mementos: What is done with copies that web archives hold.
        notify: Who is told how a batch ended.
    """

    store: Annotated[str, Meta(min_length=1, max_length=4_096)] = "archive"
    stores: Annotated[tuple[StoreName, ...], Meta(max_length=9)] = ()
    quorum: Annotated[int, Meta(ge=1, le=9)] = 2
    spool: Annotated[str, Meta(min_length=1, max_length=4_096)] = "~/.local/state/archiver/spool"
    jobs: Annotated[int, Meta(ge=1, le=32)] = 2
    operator: Line = ""
    access_ip: Line = ""
    organisation: Line = ""
    vantage: Annotated[str, Meta(min_length=1, max_length=200)] = "default"
    vantage_country: Annotated[str, Meta(pattern="^([A-Z]{2})?$", max_length=2)] = ""
    vantage_place: Line = ""
    purpose: Line = ""
    by_whom: Line = ""
    conditions: Line = ""
    circumstances: Line = ""
    not_before_source: Literal["", "drand", "tlog-checkpoint"] = ""
    not_before_url: Line = ""
    browser: Line = ""
    behaviours: bool = True
    user_agent: Annotated[str, Meta(pattern="^[ -~]*$", max_length=1_024)] = ""
    ca_files: Annotated[tuple[str, ...], Meta(max_length=50)] = ()
    resolve: Annotated[tuple[str, ...], Meta(max_length=1_000)] = ()
    allow_private_network: bool = False
    allowed_addresses: Annotated[tuple[str, ...], Meta(max_length=1_000)] = ()
    upstream: Line = ""
    resolver: Line = ""
    ntp_servers: Annotated[tuple[str, ...], Meta(max_length=10)] = ("time.cloudflare.com", "pool.ntp.org")
    key: Line = ""
    key_passphrase_file: Line = ""
    certificate: Line = ""
    certificate_passphrase_file: Line = ""
    trust: Line = ""
    tsa: Annotated[tuple[str, ...], Meta(max_length=10)] = ("digicert", "sectigo")
    publish: Annotated[tuple[Line, ...], Meta(max_length=10)] = ()
    publish_calendar: Line = ""
    recipients: Annotated[tuple[Line, ...], Meta(max_length=50)] = ()
    media: Literal["off", "platforms", "always"] = "off"
    session: Annotated[str, Meta(pattern="^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?$", max_length=64)] = ""
    session_recipients: Annotated[tuple[Line, ...], Meta(max_length=50)] = ()
    annex_recipients: Annotated[tuple[Line, ...], Meta(max_length=50)] = ()
    counsel_redacted: bool = False
    actor: Annotated[str, Meta(min_length=1, max_length=100)] = "archiver"
    view: View = View()
    limits: Limits = Limits()
    retention: Retention = Retention()
    batch: Batch = Batch()
    vantages: dict[VantageName, Vantage] = msgspec.field(default_factory=dict)
    mementos: Mementos = Mementos()
    notify: Notify = Notify()


DEFAULTS = Settings()
TABLES = ("view", "limits", "retention", "batch", "mementos", "notify")
PATHS = (
    "store",
    "stores",
    "spool",
    "browser",
    "ca_files",
    "key",
    "key_passphrase_file",
    "certificate",
    "certificate_passphrase_file",
    "trust",
    "publish",
)

Values = dict[str, Any]


def load_settings(file: Path | None, environment: Mapping[str, str], options: Mapping[str, Any]) -> Settings:
    """Put the settings together and check every value.

    Args:
        file: Of ``--config``, or None to look for one.
        environment: The process's.
        options: By key; None and empty lists count as not given. Lists are put before those of the file.

    Raises:
        UsageError: E250 for a file that cannot be read, E251 for an unknown key, E252 for a value.
    """
    path = file or _find_file(environment)
    from_file = _anchored(_read_file(path), path.parent) if path else {}
    from_environment = _from_environment(environment)
    from_options = {key: value for key, value in options.items() if value not in (None, (), [])}
    merged: Values = {}
    layers = [(str(path), from_file), ("environment", from_environment), ("options", from_options)]
    for source, values in layers:
        _check_keys(source, values)
        _check_values(source, values)
        if "store" in values and "stores" not in values:
            merged.pop("stores", None)  # whoever names one store means that one
        merged = _merged(merged, values, lists_add=source == "options")
    if merged.get("stores"):
        merged["store"] = merged["stores"][0]
    settings = msgspec.convert(_expanded({"spool": DEFAULTS.spool} | merged), Settings)
    _check_stores(settings)
    return settings


def cache_folder() -> Path:
    """Return the folder for what can be made again, such as catalogues."""
    return _xdg(os.environ, "XDG_CACHE_HOME", "~/.cache") / "archiver"


def config_folder() -> Path:
    """Return the folder for keys and the trust file."""
    return _xdg(os.environ, "XDG_CONFIG_HOME", "~/.config") / "archiver"


def state_folder() -> Path:
    """Return the folder for what this installation must remember."""
    return _xdg(os.environ, "XDG_STATE_HOME", "~/.local/state") / "archiver"


def trust_path(settings: Settings) -> Path:
    """Return where the trust file lies."""
    return Path(settings.trust) if settings.trust else config_folder() / "trust.toml"


def _xdg(environment: Mapping[str, str], variable: str, fallback: str) -> Path:
    # XDG: a relative value is to be ignored.
    value = environment.get(variable, "")
    return Path(value) if value.startswith("/") else Path(fallback).expanduser()


def _find_file(environment: Mapping[str, str]) -> Path | None:
    if named := environment.get("ARCHIVER_CONFIG"):
        return Path(named)
    home = _xdg(environment, "XDG_CONFIG_HOME", "~/.config")
    candidates = (Path(FILE_NAME), home / "archiver" / FILE_NAME)
    return next((path for path in candidates if path.is_file()), None)


def _read_file(path: Path) -> Values:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
        if len(data) <= MAX_CONFIG_BYTES:
            return tomllib.loads(data.decode("utf-8"))
        problem = f"at most {MAX_CONFIG_BYTES} bytes, got more"
    except OSError as error:
        problem = f"a readable file, got {error.strerror}"
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        problem = f"TOML in UTF-8: {error}"
    raise UsageError(f"settings {path}: expected {problem}", code="E250", hint="correct the settings file")


def _from_environment(environment: Mapping[str, str]) -> Values:
    values: Values = {}
    for variable, text in environment.items():
        key = variable.removeprefix(PREFIX).lower()
        if not variable.startswith(PREFIX) or key.upper() in NOT_SETTINGS:
            continue
        table = next((name for name in TABLES if key.startswith(f"{name}_")), None)
        if table is None:
            values[key] = _typed(variable, text, getattr(DEFAULTS, key, ""))
        else:
            inner = key.removeprefix(f"{table}_")
            default = getattr(getattr(DEFAULTS, table), inner, "")
            values.setdefault(table, {})[inner] = _typed(variable, text, default)
    return values


def _typed(variable: str, text: str, default: object) -> object:
    if isinstance(default, bool):
        choices = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False, "": False}
        if text.lower() in choices:
            return choices[text.lower()]
        raise _bad_value("environment", f"{variable}: expected true or false, got {text[:40]!r}")
    if isinstance(default, int):
        if re.fullmatch(r"-?[0-9]{1,18}", text):
            return int(text)
        raise _bad_value("environment", f"{variable}: expected a whole number, got {text[:40]!r}")
    if isinstance(default, tuple):
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def _check_keys(source: str, values: Values) -> None:
    _check_names(source, values, msgspec.structs.asdict(DEFAULTS), "")
    for table in TABLES:
        if isinstance(values.get(table), dict):
            known = msgspec.structs.asdict(getattr(DEFAULTS, table))
            _check_names(source, values[table], known, f"{table}.")


def _check_names(source: str, given: Iterable[str], known: Iterable[str], table: str) -> None:
    names = list(known)
    for key in given:
        if key not in names:
            nearest = difflib.get_close_matches(key, names, n=1)
            hint = f"did you mean {table}{nearest[0]}?" if nearest else f"known are {', '.join(names)}"
            what = f"key {ascii(table + key)[:80]}: expected a known one, got another"
            raise UsageError(f"settings {source}: {what}", code="E251", hint=hint)


def _check_values(source: str, values: Values) -> None:
    """Check types and ranges of one layer, so that the error can name it."""
    try:
        settings = msgspec.convert(values, Settings)
    except msgspec.ValidationError as error:
        raise _bad_value(source, str(error)) from error
    for rule in settings.resolve:
        parse_resolve_rule(rule)
    if settings.resolver:
        parse_name_server(settings.resolver)
    for text in settings.allowed_addresses:
        _check_network(source, text)
    for name, (low, high) in _VIEW_RANGES.items():
        _check_range(source, f"view.{name}", getattr(settings.view, name), low, high)
    for name, value in msgspec.structs.asdict(settings.limits).items():
        _check_range(source, f"limits.{name}", value, 1, MAX_MS if name.endswith("_ms") else 2**50)
    if not _LOCALE.fullmatch(settings.view.locale):
        raise _bad_value(source, f"view.locale: expected a tag such as kk-KZ, got {settings.view.locale!r}")
    if not _TIMEZONE.fullmatch(settings.view.timezone):
        got = repr(settings.view.timezone)
        raise _bad_value(source, f"view.timezone: expected a name such as Asia/Almaty, got {got}")


def _check_network(source: str, text: str) -> None:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        what = f"allowed_addresses: expected an address or a network such as 10.1.2.0/24, got {text[:60]!r}"
        raise _bad_value(source, what) from None


def _check_stores(settings: Settings) -> None:
    """Refuse several stores of which one is named twice, or fewer than must confirm."""
    if len(set(settings.stores)) < len(settings.stores):
        raise _bad_value("together", "stores: expected different ones, got one twice")
    if settings.stores and settings.quorum > len(settings.stores):
        got = f"{settings.quorum}"
        raise _bad_value("together", f"quorum: expected at most {len(settings.stores)} stores, got {got}")


def _check_range(source: str, name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise _bad_value(source, f"{name}: expected {low} to {high}, got {value}")


def _bad_value(source: str, what: str) -> UsageError:
    return UsageError(f"settings {source}: {what}", code="E252", hint="correct that value")


def _merged(weak: Values, strong: Values, *, lists_add: bool) -> Values:
    merged = dict(weak)
    for key, value in strong.items():
        if key in TABLES:
            merged[key] = {**weak.get(key, {}), **value}
        elif lists_add and isinstance(value, (list, tuple)):
            merged[key] = [*value, *weak.get(key, ())]
        else:
            merged[key] = value
    return merged


def _anchored(values: Values, folder: Path) -> Values:
    """Take relative paths of the file from its folder, so that it means the same from everywhere."""
    anchored = dict(values)
    for key in PATHS:
        value = values.get(key)
        if isinstance(value, str):
            anchored[key] = _anchor(value, folder)
        elif isinstance(value, list):
            anchored[key] = [_anchor(item, folder) if isinstance(item, str) else item for item in value]
    return anchored


def _anchor(text: str, folder: Path) -> str:
    return text if not text or _is_address(text) or text.startswith("~") else str(folder / text)


def _is_address(text: str) -> bool:
    return "://" in text or text.startswith("pkcs11:")


def _expanded(values: Values) -> Values:
    for key in PATHS:
        value = values.get(key)
        if isinstance(value, str):
            values[key] = _expand(value)
        elif isinstance(value, (list, tuple)):
            values[key] = [_expand(item) for item in value]
    return values


def _expand(text: str) -> str:
    # A URL is no path: Path would take one of the two slashes of s3:// away.
    return text if not text or _is_address(text) else str(Path(text).expanduser())
