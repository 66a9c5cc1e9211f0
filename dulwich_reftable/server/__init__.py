# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""A git server: handlers for dulwich's servers, and servers to put them in.

``HANDLERS`` drops into ``TCPGitServer(..., handlers=HANDLERS)`` and
``make_wsgi_chain(..., handlers=HANDLERS)``. A push is one transaction, and its report is true.
Listing refs streams. Repositories on files are served, too, as well as files allow.

``GitServer`` and ``HTTPGitServer`` serve a ``Folder`` of repositories to many clients at once;
``Application`` is the latter for any WSGI server. Pushing is off until ``Access`` or the
configuration of a repository turns it on.
"""

from ..compat import SERVER, check_all, check_version

check_version("server")
check_all(SERVER)

from .access import Access
from .authorization import ALLOW, CHALLENGE, DENY, AccessRequest, Decision, RefUpdate
from .bucket_folder import BucketFolder
from .folder import Folder
from .handlers import HANDLERS
from .passwords import PasswordFile, TooManyAttemptsError
from .receive_pack.handler import ReceivePackHandler
from .rules import RulesFile
from .transport.httpd import HTTPGitServer
from .transport.serving import Server, run
from .transport.tcp import GitServer
from .transport.web import Application
from .upload_pack.handler import UploadPackHandler

__all__ = [
    "ALLOW",
    "CHALLENGE",
    "DENY",
    "HANDLERS",
    "Access",
    "AccessRequest",
    "Application",
    "BucketFolder",
    "Decision",
    "Folder",
    "GitServer",
    "HTTPGitServer",
    "PasswordFile",
    "ReceivePackHandler",
    "RefUpdate",
    "RulesFile",
    "Server",
    "TooManyAttemptsError",
    "UploadPackHandler",
    "run",
]
