# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What an exception of obstore means.

obstore tells little by its types: a missing bucket is a ``FileNotFoundError`` like a missing
object, a refused ``DeleteObjects`` a ``GenericError``, and 409 ("try again") is the same
``AlreadyExistsError`` as 412 ("lost"). Its text has the status and the store's error code, and so
it is read, but never repeated: it also has the whole address of the request, in which some stores
keep a signature.
"""

from __future__ import annotations

import errno
import re

from ..engine.errors import StorageError
from .errors import (
    AccessError,
    ConditionError,
    ConflictError,
    MissingBucketError,
    MissingObjectError,
    NotModifiedError,
    UnavailableError,
)

__all__ = ["translate"]

_STATUS = re.compile(r"status code: (\d{3})\b")
_CODE = re.compile(r"<Code>(\w{1,64})</Code>")
_HTTP_KIND = re.compile(r"\bkind: (Connect|Timeout)\b")

_NO_BUCKET = {"NoSuchBucket", "ContainerNotFound"}
_EXISTS = {"BlobAlreadyExists"}  # Azure answers 409 where others answer 412
_BAD_CREDENTIALS = {
    "AuthorizationHeaderMalformed",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
}
_BUSY = {"RequestTimeout", "SlowDown"}

_STATUS_OF_TYPE = {
    "AlreadyExistsError": 412,
    "FileNotFoundError": 404,
    "NotModifiedError": 304,
    "NotFoundError": 404,
    "PermissionDeniedError": 403,
    "PreconditionError": 412,
    "UnauthenticatedError": 401,
}


def translate(error: Exception, location: str) -> StorageError:
    """Give the exception of ours that says what an exception of obstore means.

    Args:
      error: what obstore raised
      location: of the object or prefix, for the message
    """
    text = str(error)
    if "169.254.169.254" in text or "CredentialProvider" in text:
        return AccessError(location, "no credentials were found")
    found = _STATUS.search(text)
    status = int(found[1]) if found else _STATUS_OF_TYPE.get(type(error).__name__, 0)
    found = _CODE.search(text)
    code = found[1] if found else ""
    answer = f"status {status}" + (f", {code}" if code else "")
    if code in _NO_BUCKET:
        return MissingBucketError(location)
    if status == 412 or code in _EXISTS or type(error).__name__ == "PreconditionError":
        return ConditionError(location)
    if status == 304:
        return NotModifiedError(location)
    if status == 409:
        return ConflictError(location)
    if status == 404:
        return MissingObjectError(location)
    if status in (401, 403) or code in _BAD_CREDENTIALS:
        return AccessError(location, answer)
    if status in (408, 429) or status >= 500 or code in _BUSY:
        return UnavailableError(location, answer)
    if "redirect" in text:
        return StorageError(errno.EINVAL, "the store redirects: is the region right?", location)
    if status or isinstance(error, ValueError) or "Invalid range" in text:
        reason = answer if status else "malformed name or range"
        return StorageError(errno.EINVAL, f"the store refused the request: {reason}", location)
    found = _HTTP_KIND.search(text)
    if found and found[1] == "Connect":
        return UnavailableError(location, "it cannot be reached", was_sent=False)
    if found:
        return UnavailableError(location, "the request timed out")
    # An answer that is cut off, or that lacks what it should have: nobody knows what happened.
    return UnavailableError(location, "the answer could not be read")
