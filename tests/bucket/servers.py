"""Real servers for the tests, on 127.0.0.1: started, made ready with one bucket, and stopped.

``radosgw`` is Ceph's: one monitor, one object daemon that keeps all in memory, and the gateway.
``ministack`` is an emulator of AWS from PyPI, which swaps objects atomically.
"""

from __future__ import annotations

import base64
import hmac
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from email.utils import formatdate
from importlib.util import find_spec
from pathlib import Path
from typing import Any

KEY, SECRET, BUCKET = "test-key", "test-secret", "judged"
PACKAGES = "ceph-mon ceph-osd radosgw ceph-common"
READY_SECONDS = 90.0
_MONITOR_TRIES = 20


class NotHereError(Exception):
    """A server cannot be run on this machine; says why."""


@contextmanager
def run_server(name: str) -> Iterator[dict[str, Any]]:
    """Run a server.

    Args:
      name: ``"radosgw"`` or ``"ministack"``
    Returns: options for ``open_store("s3://judged/...")``
    Raises:
      NotHereError: if it is not installed
    """
    start = {"radosgw": _start_radosgw, "ministack": _start_ministack}[name]
    with ExitStack() as cleanup:
        directory = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix=f"{name}-")))
        port = _free_port()
        start(cleanup, directory, port)
        _make_bucket(port)
        yield {
            "endpoint": f"http://127.0.0.1:{port}",
            "access_key_id": KEY,
            "secret_access_key": SECRET,
            "region": "us-east-1",
        }


def _start_ministack(cleanup: ExitStack, directory: Path, port: int) -> None:
    if find_spec("ministack") is None:
        raise NotHereError("ministack is not installed: pip install ministack")
    environment = {**os.environ, "GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1"}
    command = [sys.executable, "-m", "ministack.app"]
    _spawn(cleanup, command, directory / "log", environment)
    _wait_for(port)


CONFIGURATION = """\
[global]
fsid = {fsid}
mon_host = v1:127.0.0.1:{mon_port}
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
keyring = {directory}/keyring
run_dir = {directory}
admin_socket = {directory}/$name.sock
log_file = {directory}/$name.log
mon_cluster_log_file = {directory}/cluster.log
mon_data = {directory}/mon
osd_data = {directory}/osd
rgw_data = {directory}/rgw
osd_objectstore = memstore
memstore_device_bytes = 2147483648
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pgp_num = 4
osd_crush_chooseleaf_type = 0
mon_max_pg_per_osd = 1000
mon_allow_pool_size_one = true
mon_data_avail_crit = 1
# The daemon would ask a manager for these two, and there is none.
osd_class_update_on_start = false
osd_crush_update_on_start = false
[client.rgw]
rgw_frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw_dns_name = 127.0.0.1
rgw_thread_pool_size = 32
"""


def _start_radosgw(cleanup: ExitStack, directory: Path, port: int) -> None:
    missing = [
        name
        for name in ("ceph", "ceph-mon", "ceph-osd", "radosgw", "radosgw-admin")
        if shutil.which(name) is None
    ]
    if missing:
        raise NotHereError(f"no {missing[0]} here: Debian has it in {PACKAGES}")
    fsid, osd, mon_port = uuid.uuid4(), uuid.uuid4(), _free_port()
    configuration = directory / "ceph.conf"
    configuration.write_text(
        CONFIGURATION.format(fsid=fsid, mon_port=mon_port, directory=directory, port=port)
    )
    for name in ("mon", "osd", "rgw"):
        (directory / name).mkdir()
    environment = {**os.environ, "CEPH_CONF": str(configuration)}

    def run(*command: str) -> str:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=READY_SECONDS
        )
        if done.returncode:
            raise NotHereError(f"{command[0]} failed: {done.stderr[-500:]}")
        return done.stdout.strip()

    def ask_monitor(*command: str) -> str:
        """Run a command that can be repeated: a monitor that has just started refuses some."""
        for left in reversed(range(_MONITOR_TRIES)):
            try:
                return run("ceph", *command)
            except NotHereError:
                if not left:
                    raise
                time.sleep(0.5)
        return ""

    def spawn(*command: str) -> None:
        _spawn(cleanup, list(command), directory / f"{command[0]}.out", environment)

    keyring, monmap = str(directory / "keyring"), str(directory / "monmap")
    caps = "--cap", "mon", "allow *"
    run("ceph-authtool", "--create-keyring", keyring, "--gen-key", "-n", "mon.", *caps)
    address = f"[v1:127.0.0.1:{mon_port}]"
    run("monmaptool", "--create", "--fsid", str(fsid), "--addv", "a", address, monmap)
    run("ceph-mon", "-i", "a", "--mkfs", "--monmap", monmap, "--keyring", keyring)
    spawn("ceph-mon", "-f", "-i", "a", "--public-addr", f"v1:127.0.0.1:{mon_port}")
    number = ask_monitor("osd", "new", str(osd))
    place = "root=default", "host=here"
    ask_monitor("osd", "crush", "add", f"osd.{number}", "1.0", *place)
    run("ceph-osd", "-i", number, "--mkfs", "--osd-uuid", str(osd))
    spawn("ceph-osd", "-f", "-i", number)
    spawn("radosgw", "-f", "-n", "client.rgw")
    _wait_for(port)
    user = ["user", "create", "--uid=test", "--display-name=test"]
    run("radosgw-admin", "-n", "client.rgw", *user, f"--access-key={KEY}", f"--secret-key={SECRET}")


def _spawn(cleanup: ExitStack, command: list[str], log: Path, environment: dict[str, str]) -> None:
    """Start a process that ends with the stack."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )

    def stop() -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)  # with its children
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)

    cleanup.callback(stop)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise NotHereError(f"nothing listens at port {port}")


def _make_bucket(port: int) -> None:
    """Make the bucket, which obstore cannot; signed by AWS's second version, which is short."""
    date = formatdate(usegmt=True)
    text = f"PUT\n\n\n{date}\n/{BUCKET}".encode()
    signature = base64.b64encode(hmac.digest(SECRET.encode(), text, "sha1")).decode()
    headers = {"Date": date, "Authorization": f"AWS {KEY}:{signature}"}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("PUT", f"/{BUCKET}", headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != 200:
        raise NotHereError(f"the bucket could not be made: {answer.status} {body[:200]!r}")
