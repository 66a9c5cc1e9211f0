"""A git server over SSH in one program, with asyncssh (which is to be installed beside).

    python examples/ssh_server.py FOLDER HOST_KEY AUTHORIZED_KEYS [PORT]

    ssh-keygen -t ed25519 -N '' -f HOST_KEY
    git clone ssh://NAME@127.0.0.1:8022/NAME.git

Whoever has one of the keys may fetch and push; ``authorize`` of ``serve_command`` could say more.
With OpenSSH no program is needed: see ``dulwich-reftable shell --help``.
"""

from __future__ import annotations

import asyncio
import os
import sys
from functools import partial

import asyncssh

from dulwich_reftable.server import Folder
from dulwich_reftable.server.transport.shell import serve_command


def serve(folder: Folder, process: asyncssh.SSHServerProcess[bytes], pipes: list[int]) -> int:
    """Serve one request, in a thread."""
    said: list[str] = []
    with open(pipes[0], "rb") as incoming, open(pipes[1], "wb") as outgoing:
        code = serve_command(
            folder,
            process.command or "",
            incoming,
            outgoing,
            said.append,
            user=process.get_extra_info("username"),
            environ=dict(process.env),
        )
    with open(pipes[2], "w") as errors:
        errors.writelines(f"{text}\n" for text in said)
    return code


async def handle(folder: Folder, process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Connect a client with a thread, by pipes."""
    (from_client, into), (out_of, to_client), (told, tell) = os.pipe(), os.pipe(), os.pipe()
    await process.redirect(into, out_of, told, send_eof=False)
    code = await asyncio.to_thread(serve, folder, process, [from_client, to_client, tell])
    await process.stdout.drain()
    process.exit(code)
    await process.wait_closed()


async def main(root: str, host_key: str, keys: str, port: str = "8022") -> None:
    """Serve until the process is interrupted."""
    server = await asyncssh.listen(
        "127.0.0.1",
        int(port),
        server_host_keys=[host_key],
        authorized_client_keys=keys,
        process_factory=partial(handle, Folder(root, create=True)),
        encoding=None,
    )
    print(f"serving {root} at ssh://127.0.0.1:{server.get_port()}/", flush=True)
    await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
