"""The browser: found, described, started with its sandbox on, and ended with nothing left behind.

One process serves many captures, each in a context of its own: a fresh in-memory profile with its own
cookies, cache, HSTS state, service workers and proxy. When started as root the browser is dropped to
an unprivileged user ID, because Chromium's sandbox refuses root and a renderer must never be root.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from playwright.async_api import Error as PlaywrightError

from archiver.errors import EnvironmentUnfit

if TYPE_CHECKING:
    from playwright.async_api import Browser, Playwright

UNPRIVILEGED_UID = 61184
"""First of the range that systemd keeps for services without a passwd entry; nobody logs in with it."""

_NOT_WANTED = ["--disable-ipc-flooding-protection"]
"""Playwright's, not a visitor's: without it one page that renames itself in a loop freezes all others."""

_HOME_PREFIX = "archiver-browser-"
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_DEBIAN_BINARY = Path("/usr/lib/chromium/chromium")


@dataclass(frozen=True, slots=True)
class BrowserFacts:
    """Which program rendered the page.

    Args:
        product: ``Chromium`` or ``Google Chrome``.
        version: Four numbers, dotted.
        path: The executable that runs (not a wrapper script).
        sha256: Of that executable.
        user_agent: As sent; ordinary, without the word Headless.
        flags: Switches we gave, in order, without the paths of this machine.
        sandbox: How it is confined, in one word for the record.
    """

    product: str
    version: str
    path: str
    sha256: str
    user_agent: str
    flags: tuple[str, ...]
    sandbox: str


def find_browser(configured: str | None) -> Path:
    """Return the browser's real executable: the configured one, an installed one, or Playwright's own.

    Raises:
        EnvironmentUnfit: E101 when there is none.
    """
    if configured:
        path = Path(configured)
        if not os.access(path, os.X_OK) or path.is_dir():
            raise EnvironmentUnfit(
                f"browser {configured}: not usable: expected an executable file, got none",
                code="E101",
                hint="set `browser` to the path of a Chromium or Chrome, or remove the setting",
            )
        return path
    for name in _NAMES:
        if found := shutil.which(name):
            return _behind_wrapper(Path(found))
    own = sorted(Path.home().glob(".cache/ms-playwright/chromium-*/chrome-linux*/chrome"))
    if own:
        return own[-1]
    raise EnvironmentUnfit(
        "browser: none found: expected Chromium or Chrome on the PATH, or Playwright's own",
        code="E101",
        hint="install one: `apt install chromium`, or `playwright install chromium`",
    )


def _behind_wrapper(path: Path) -> Path:
    """Debian's ``chromium`` is a shell script that adds flags and extensions; the program lies behind it."""
    with path.open("rb") as file:
        is_script = file.read(2) == b"#!"
    return _DEBIAN_BINARY if is_script and _DEBIAN_BINARY.exists() else path.resolve()


def describe_browser(path: Path, cache: Path) -> tuple[str, str, str]:
    """Return product, version and SHA-256 of the executable; hashed once per build and kept in *cache*.

    Raises:
        EnvironmentUnfit: E102 when it does not even print its version.
    """
    state = path.stat()
    key = f"{path}|{state.st_size}|{state.st_mtime_ns}|{state.st_ino}"
    try:
        known: dict[str, list[str]] = msgspec.json.decode(cache.read_bytes(), type=dict[str, list[str]])
    except (OSError, msgspec.DecodeError):
        known = {}
    if key not in known:
        known = {key: [*_ask_version(path), _sha256(path)]}
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_bytes(msgspec.json.encode(known))
    product, version, digest = known[key]
    return product, version, digest


def _ask_version(path: Path) -> tuple[str, str]:
    try:
        answer = subprocess.run(
            [path, "--version", "--no-sandbox"], capture_output=True, text=True, timeout=30, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise EnvironmentUnfit(
            f"browser {path}: does not start: expected its version, got {error}",
            code="E102",
            hint="run `archiver doctor`; reinstall the browser",
        ) from error
    match = re.search(r"(.+?) (\d+\.\d+\.\d+\.\d+)", answer)
    if match is None:
        raise EnvironmentUnfit(
            f"browser {path}: not a Chromium: expected a version of four numbers, got {answer[:80]!r}",
            code="E102",
            hint="set `browser` to a Chromium or Chrome",
        )
    return match[1].strip(), match[2]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class BrowserHome:
    """A private home folder for one browser process: key log, certificate store, launcher.

    It lies in the temporary folder under a name that cannot be guessed, because an unprivileged browser
    cannot reach into a store that only root may enter. A lock tells the living from the left behind.
    """

    def __init__(self, extra_roots: tuple[Path, ...]) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=_HOME_PREFIX))
        self.keys = self.path / "keys.log"
        self.keys.touch(mode=0o600)
        self._lock = _lock(self.path)
        self.uid = UNPRIVILEGED_UID if os.getuid() == 0 else os.getuid()
        self.downloads = self.path / "downloads"
        self.downloads.mkdir(mode=0o700)
        for number, root in enumerate(extra_roots):
            _trust_root(self.path / ".pki" / "nssdb", root, f"extra-{number}")
        if os.getuid() == 0:
            for item in (self.path, *self.path.rglob("*")):
                os.chown(item, self.uid, self.uid)

    def launcher(self, browser: Path) -> Path:
        """The program to start: the browser itself, or as root a script that gives up root first."""
        if os.getuid() != 0:
            return browser
        script = self.path / "launch"
        script.write_text(
            "#!/bin/sh\n"
            'for a in "$@"; do case "$a" in --user-data-dir=*) '
            f'chown -R {self.uid}:{self.uid} "${{a#--user-data-dir=}}";; esac; done\n'
            f"exec setpriv --reuid {self.uid} --regid {self.uid} --clear-groups --inh-caps=-all "
            f'--no-new-privs -- {browser} "$@"\n'
        )
        script.chmod(0o755)
        return script

    def can_be_entered(self) -> bool:
        """Whether the browser's user gets into it: TMPDIR may lie in a folder that root alone may enter."""
        if os.getuid() != 0:
            return True
        enter = ["setpriv", "--reuid", str(self.uid), "--regid", str(self.uid), "--clear-groups"]
        return subprocess.run([*enter, "test", "-x", self.path], check=False).returncode == 0

    def environment(self) -> dict[str, str | float | bool]:
        """What the browser may see of our environment: nothing that could be a secret."""
        home = str(self.path)
        return {
            "HOME": home,
            "XDG_CONFIG_HOME": f"{home}/.config",
            "XDG_CACHE_HOME": f"{home}/.cache",
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
        }

    def remove(self) -> None:
        """End what still runs from this home and delete it."""
        end_processes(str(self.path))
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _lock(home: Path) -> int:
    descriptor = os.open(home / "owner.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def _trust_root(database: Path, root: Path, name: str) -> None:
    """Add *root* to Chromium's user certificate store, which only Mozilla's own tool can write."""
    if shutil.which("certutil") is None:
        raise EnvironmentUnfit(
            "certutil: not found: expected it, to trust one more root",
            code="E103",
            hint="install it: `apt install libnss3-tools`",
        )
    commands: list[list[str]] = []
    if not database.exists():
        database.mkdir(parents=True, mode=0o700)
        commands.append(["-N", "--empty-password"])
    commands.append(["-A", "-t", "C,,", "-n", name, "-i", str(root)])
    for command in commands:
        done = subprocess.run(
            ["certutil", "-d", f"sql:{database}", *command], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise EnvironmentUnfit(
                f"root certificate {root}: not accepted: expected one PEM or DER certificate, "
                f"got {done.stderr.strip()[:200]}",
                code="E104",
                hint="give --ca a file with one certificate",
            )


def clear_leftovers() -> int:
    """End browsers whose owner died and delete their homes; their key logs are rescued first by the caller.

    Returns:
        How many homes were cleared.
    """
    cleared = 0
    for home in Path(tempfile.gettempdir()).glob(f"{_HOME_PREFIX}*"):
        try:
            descriptor = os.open(home / "owner.lock", os.O_RDWR)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        else:
            end_processes(str(home))
            shutil.rmtree(home, ignore_errors=True)
            cleared += 1
        finally:
            os.close(descriptor)
    return cleared


def end_processes(marker: str) -> None:
    """Kill every process whose command line names *marker* (a browser home), with its children.

    Children carry the user-data folder in their command lines; the browser process alone the key log.
    """
    profiles = {marker}
    for _ in range(2):
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                command = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if int(entry.name) == os.getpid() or not any(p in arg for p in profiles for arg in command):
                continue
            profiles.update(a.split("=", 1)[1] for a in command if a.startswith("--user-data-dir="))
            try:
                os.kill(int(entry.name), signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue


def user_agent(version: str) -> str:
    """An ordinary user agent of this version: Chromium itself reduces all but the major number."""
    return (
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
        f"Chrome/{version.split('.', maxsplit=1)[0]}.0.0.0 Safari/537.36"
    )


def switches(agent: str, locale: str) -> list[str]:
    """Our switches, without those that name paths or ports.

    HTTPS upgrades are off in Playwright's own list: an http URL must load as such.
    """
    return [
        "--disable-quic",
        "--webrtc-ip-handling-policy=disable_non_proxied_udp",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "--proxy-bypass-list=<-loopback>",
        "--disable-blink-features=AutomationControlled",
        "--disable-domain-reliability",
        f"--lang={locale}",
        f"--user-agent={agent}",
    ]


async def launch(
    playwright: Playwright,
    home: BrowserHome,
    executable: Path,
    flags: list[str],
    idle_port: int,
    *,
    headless: bool = True,
) -> Browser:
    """Start the browser, sandboxed, its own traffic led to a relay port that refuses everything.

    Args:
        playwright: A started Playwright.
        home: Where it lives.
        executable: From ``find_browser``.
        flags: From ``switches``.
        idle_port: Relay port for what belongs to no capture.
        headless: Draw no window.

    Raises:
        EnvironmentUnfit: E105 when it does not start, E107 when its user cannot enter the temporary folder.
    """
    arguments = [*flags, f"--ssl-key-log-file={home.keys}", f"--proxy-server=socks5://127.0.0.1:{idle_port}"]
    try:
        return await playwright.chromium.launch(
            executable_path=home.launcher(executable),
            chromium_sandbox=True,
            headless=headless,
            args=arguments,
            ignore_default_args=_NOT_WANTED,
            env=home.environment() | ({} if headless else _display(home)),
            handle_sigint=False,
            handle_sigterm=False,
            handle_sighup=False,
            downloads_path=home.downloads,
            timeout=60_000,
        )
    except PlaywrightError as error:
        if not home.can_be_entered():
            folder = home.path.parent
            raise EnvironmentUnfit(
                f"browser {executable}: does not start: expected a temporary folder that user {home.uid} may "
                f"enter, got {folder}",
                code="E107",
                hint=f"`chmod o+x` {folder} and what it lies in, or set TMPDIR to another folder; "
                "started as root, the browser runs as another user",
            ) from error
        raise EnvironmentUnfit(
            f"browser {executable}: does not start: expected a DevTools answer, got {_first_line(error)}",
            code="E105",
            hint="run `archiver doctor`; under a container allow user namespaces for its sandbox",
        ) from error


def _display(home: BrowserHome) -> dict[str, str | float | bool]:
    """What a window needs of our environment; the key to the display in a copy that the browser may read."""
    names = ("DISPLAY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR")
    found: dict[str, str | float | bool] = {name: os.environ[name] for name in names if name in os.environ}
    key = Path(os.environ.get("XAUTHORITY") or Path.home() / ".Xauthority")
    if key.is_file():
        copy = home.path / "xauthority"
        copy.touch(mode=0o600)
        copy.write_bytes(key.read_bytes())
        if os.getuid() == 0:
            os.chown(copy, home.uid, home.uid)
        found["XAUTHORITY"] = str(copy)
    return found


def _first_line(error: PlaywrightError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__


def platform_text() -> str:
    """Operating system and release, as the record states them."""
    release = os.uname()
    return f"{release.sysname} {release.release} {release.machine}, Python {sys.version.split()[0]}"
