"""Programs that stand between a browser and the dashboard: real ones where they are installed, and a small one of our own."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import wait_for

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin")
SSH, KEYGEN, OPENSSL = shutil.which("ssh"), shutil.which("ssh-keygen"), shutil.which("openssl")
MAX_HEAD = 64 << 10


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class PrefixProxy:
    """Hands over what stands below one path, as it is, and says so in X-Forwarded-For; all else is answered 404 and noted."""

    def __init__(self, port: int, target: int, prefix: str) -> None:
        self.port, self.strayed = port, list[str]()
        self._target, self._prefix = target, prefix.encode()

    async def serve(self, ended: asyncio.Event) -> None:
        async with await asyncio.start_server(self._connection, "127.0.0.1", self.port, limit=MAX_HEAD):
            await ended.wait()

    async def _connection(self, browser: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        """One request a connection, or one socket."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.ExitStack() as ends:
            ends.callback(back.close)
            head = await browser.readuntil(b"\r\n\r\n")
            path = head.split(b" ", 2)[1]
            if path.startswith(self._prefix):
                answer, ours = await asyncio.open_connection("127.0.0.1", self._target)
                ends.callback(ours.close)
                first, _, fields = head.partition(b"\r\n")
                is_socket = b"upgrade: websocket" in fields.lower()
                kept = [
                    line
                    for line in fields.split(b"\r\n")
                    if line and (is_socket or not line.lower().startswith(b"connection:"))
                ]
                added = [b"X-Forwarded-For: 192.0.2.7", *([] if is_socket else [b"Connection: close"])]
                ours.write(b"\r\n".join([first, *kept, *added, b"", b""]))
                await asyncio.gather(_pipe(browser, ours), _pipe(answer, back))
            else:
                self.strayed.append(path.decode("latin-1"))
                back.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                await back.drain()


async def _pipe(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(1 << 16):
            target.write(data)
            await target.drain()
    target.close()


@contextlib.contextmanager
def prefix_proxy(target: int, prefix: str) -> Iterator[PrefixProxy]:
    proxy, loop, ended = PrefixProxy(free_port(), target, prefix), asyncio.new_event_loop(), asyncio.Event()

    async def served() -> None:
        await proxy.serve(ended)
        still = asyncio.all_tasks() - {asyncio.current_task()}
        for task in still:
            task.cancel()
        await asyncio.gather(*still, return_exceptions=True)
        await asyncio.sleep(0.1)  # closed connections are lost in the loop's next turns

    thread = threading.Thread(target=loop.run_until_complete, args=(served(),), name="proxy", daemon=True)
    thread.start()
    try:
        wait_for(lambda: answers(proxy.port))
        yield proxy
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
        loop.close()


@contextlib.contextmanager
def started(*command: str | Path, port: int, log: Path) -> Iterator[None]:
    """While the block runs; it answers on its port."""
    with (
        log.open("wb") as file,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file) as process,
    ):
        try:
            wait_for(lambda: answers(port) or process.poll() is not None, because="it does not answer")
            assert process.poll() is None, log.read_text(errors="replace")
            yield
        finally:
            process.terminate()
            process.wait(60)


NGINX_CONF = """
daemon off; {user}
pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/temp; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {certificate}; ssl_certificate_key {key};
{location}
  }}
}}
"""


@contextlib.contextmanager
def nginx(folder: Path, location: str, certificate: Path, key: Path) -> Iterator[int]:
    """Its port, with TLS. `location` is a block of its configuration."""
    port, conf = free_port(), folder / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""  # the folders of a test are closed to others
    conf.write_text(
        NGINX_CONF.format(user=user, folder=folder, port=port, certificate=certificate, key=key, location=location)
    )
    with started(str(NGINX), "-e", folder / "error.log", "-p", folder, "-c", conf, port=port, log=folder / "nginx.log"):
        yield port


SSHD_CONF = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
"""


@contextlib.contextmanager
def tunnel(folder: Path, target: str) -> Iterator[int]:
    """The local port of `ssh -L` to `target`, `127.0.0.1:8080` or the path of a Unix socket, through a real server on loopback."""
    for name in ("host", "user"):
        subprocess.run([str(KEYGEN), "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    server, local = free_port(), free_port()
    (folder / "sshd_config").write_text(SSHD_CONF.format(port=server, folder=folder))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where it locks itself in before it knows who comes
    asked = ("-N", "-F", "none", "-p", str(server), "-i", folder / "user", "-L", f"127.0.0.1:{local}:{target}")
    options = ("BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ExitOnForwardFailure=yes")
    named = [word for option in options for word in ("-o", option)]
    with (
        started(str(SSHD), "-D", "-e", "-f", folder / "sshd_config", port=server, log=folder / "sshd.log"),
        started(str(SSH), *asked, *named, f"{getpass.getuser()}@127.0.0.1", port=local, log=folder / "ssh.log"),
    ):
        yield local


def why_no_tunnel() -> str:
    return "" if SSHD and SSH and KEYGEN else "sshd and ssh are not installed"


def jupyter() -> str | None:
    """The program of a Jupyter server with jupyter-server-proxy: beside this Python, or the one that JUPYTER_SERVER names."""
    named = os.environ.get("JUPYTER_SERVER") or str(Path(sys.executable).with_name("jupyter-server"))
    if not Path(named).exists():
        return None
    code = "import jupyter_server_proxy"
    done = subprocess.run([Path(named).with_name("python"), "-c", code], capture_output=True)
    return named if done.returncode == 0 else None


def make_certificate(folder: Path, name: str, *, ends: str = "", key_of: Path | None = None) -> tuple[Path, Path]:
    """A self-signed certificate of localhost and its key. `ends`, such as 20200102000000Z, lets it be over."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}-key.pem"
    times = ("-not_before", "20200101000000Z", "-not_after", ends) if ends else ("-days", "30")
    subject = ("-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    command = (str(OPENSSL), "req", "-x509", *kind, "-keyout", key, "-out", certificate, *times, *subject)
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key
