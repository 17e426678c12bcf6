"""Captures one page in a network namespace of its own, and every packet that leaves it.

Run as ``unshare --net python -m tests.hostile.in_namespace FOLDER COMMAND...``; FOLDER gets ``out.pcapng``
and what the command printed. The namespace has a loopback and one interface with a default route that answers
nobody, so whatever is sent to anywhere else is seen, and reaches no one.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.hostile.origin import page

PUBLIC = "93.184.215.14"
PUBLIC_6 = "2606:2800:21f:cb07:6820:80da:af6b:8b2c"
PORT = 8080
MARKER, MARKER_PORT = b"this packet is a marker", 9
RELAYED_PORT = 8099
"""Asked for by the page in the ordinary way: this is dialled, by the relay."""

# Ports tell the ways apart. Whatever is not given to the relay would be seen as itself.
LEAVING = f"""
const go = (what) => {{ try {{ what() }} catch {{}} }};
const add = (tag, fields) => document.head.append(Object.assign(document.createElement(tag), fields));
const link = (rel, href) => add("link", {{rel, href}});
for (const address of ["{PUBLIC}", "[{PUBLIC_6}]"]) {{
  const urls = ["stun:" + address + ":3478", "turn:" + address + ":3479?transport=udp",
    "turn:" + address + ":3480?transport=tcp"];
  go(() => {{
    const iceServers = [{{urls, username: "u", credential: "c"}}];
    const peer = new RTCPeerConnection({{iceServers}}), other = new RTCPeerConnection({{iceServers}});
    peer.createDataChannel("x");
    peer.onicecandidate = (event) => event.candidate && other.addIceCandidate(event.candidate);
    other.onicecandidate = (event) => event.candidate && peer.addIceCandidate(event.candidate);
    (async () => {{
      await peer.setLocalDescription();
      const sdp = peer.localDescription.sdp + "a=candidate:1 1 udp 2113937151 {PUBLIC} 5000 typ host\\r\\n";
      await other.setRemoteDescription({{type: "offer", sdp}});
      await other.setLocalDescription();
      await peer.setRemoteDescription(other.localDescription);
    }})();
  }});
  go(() => new WebTransport("https://" + address + ":4433/"));
}}
for (const name of ["prefetched", "preconnected", "rendered"]) link("dns-prefetch", `//${{name}}.example`);
link("preconnect", "http://preconnected.example:{RELAYED_PORT}");
link("prerender", "http://rendered.example:{RELAYED_PORT}/");
add("script", {{type: "speculationrules", textContent: JSON.stringify(
  {{prefetch: [{{source: "list", urls: ["http://speculated.example:{RELAYED_PORT}/"]}}]}})}});
go(() => fetch("http://{PUBLIC}:{RELAYED_PORT}/", {{mode: "no-cors"}}));
go(() => new WebSocket("ws://{PUBLIC}:{RELAYED_PORT}/"));
go(() => navigator.mediaDevices.enumerateDevices());
go(() => new PresentationRequest("http://shown.example/").getAvailability());
"""


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Alt-Svc", 'h3=":443"; ma=86400')
        self.end_headers()
        self.wfile.write(page(LEAVING))


def run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


def lay_out() -> None:
    """One interface that leads nowhere; it says nothing of its own accord."""
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "out0", "type", "veth", "peer", "name", "nowhere")
    run("ip", "address", "add", "198.18.0.2/24", "dev", "out0")
    run("ip", "link", "set", "out0", "arp", "off")
    for end in ("nowhere", "out0"):
        run("ip", "link", "set", end, "up")
    run("ip", "route", "add", "default", "via", "198.18.0.1", "dev", "out0")
    # A machine without IPv6 is tested without it.
    for words in (["address", "add", "2001:db8:9::2/64", "nodad"], ["route", "add", "default"]):
        subprocess.run(["ip", "-6", *words, "dev", "out0"], check=False, capture_output=True)


def mark() -> None:
    """Send a datagram, so that the packets themselves tell that they were taken from begin to end."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(MARKER, (PUBLIC, MARKER_PORT))


def main() -> int:
    folder, command = Path(sys.argv[1]), sys.argv[2:]
    lay_out()
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    out = str(folder / "out.pcapng")
    taker = subprocess.Popen(
        ["dumpcap", "-q", "-i", "out0", "-w", out],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert taker.stderr is not None
    for line in taker.stderr:
        if line.startswith("File:"):  # said when it has begun
            break
    threading.Thread(target=taker.stderr.read, daemon=True).start()
    mark()
    with (folder / "told.json").open("wb") as told:
        code = subprocess.run(command, stdout=told, check=False).returncode
    end = time.monotonic() + 30
    while (folder / "out.pcapng").read_bytes().count(MARKER) < 2 and time.monotonic() < end:
        mark()
        time.sleep(0.1)
    taker.terminate()
    taker.wait()
    return code


if __name__ == "__main__":
    sys.exit(main())
