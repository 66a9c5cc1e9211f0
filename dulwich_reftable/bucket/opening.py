# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""From a URL to a :class:`~.client.Bucket`.

Credentials come from where obstore looks for them: the environment, the usual files, the machine's
role, or options that the caller passes. A URL that has any is refused, because URLs end up in
messages, process lists and configuration files.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from ..engine.errors import ConfigurationError
from .client import Bucket
from .requests import DEADLINE, Client, obstore

__all__ = ["is_bucket_url", "open_store"]

_SCHEMES = {"s3": "s3", "s3a": "s3", "gs": "gs", "az": "az", "azure": "az"}

_KINDS = {"S3Store": "s3", "GCSStore": "gs", "AzureStore": "az", "MemoryStore": "memory"}
"""Kinds of stores by obstore's classes; others cannot write conditionally, or are unknown."""

_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AZURE_STORAGE_ENDPOINT")

_TIMEOUT = 5.0
"""Seconds for one small request."""

_BULK = 24
"""How many times longer a large upload may take."""

_SLOW_PACE = 1.0
_R2 = ".r2.cloudflarestorage.com"
"""Google's and Cloudflare's stores allow about one write a second to one object."""

_memory: dict[str, Any] = {}
_memory_lock = threading.Lock()


def is_bucket_url(place: str) -> bool:
    """Tell whether a string is the URL of a place in an object store."""
    scheme, found, _ = place.partition("://")
    return bool(found) and (scheme in _SCHEMES or scheme == "memory")


def open_store(
    store: Any,
    prefix: str = "",
    *,
    timeout: float = _TIMEOUT,
    deadline: float = DEADLINE,
    pace: float | None = None,
    **options: Any,
) -> Bucket:
    """Open a place in an object store; no request is made.

    Args:
      store: ``s3://bucket/prefix``, ``gs://...``, ``az://container/prefix``,
        ``memory://name/prefix`` (of this process, gone with it), or a store of obstore that the
        caller made, with retries switched off
      prefix: of the keys, below that of the URL
      timeout: seconds for one small request
      deadline: seconds for which a request is repeated while the store does not answer
      pace: minimum seconds between two writes of one object; None for what is known of the store
      options: obstore's configuration of that kind of store, such as ``endpoint`` or
        ``virtual_hosted_style_request``; also ``client_options`` and ``credential_provider``. What
        is not given comes from the environment, as obstore reads it
    Returns: the place
    Raises:
      ConfigurationError: if the URL or an option is malformed, if the kind of store cannot keep
        refs, or if obstore is not installed
    """
    if not isinstance(store, str):
        return _wrap(store, prefix, deadline, pace, options)
    module = obstore()
    # What is after the "@" may be shown, and nothing before it.
    shown = store.rpartition("@")[2].partition("?")[0]
    try:
        url = urlsplit(store)
        has_secrets = "@" in url.netloc or bool(url.query or url.fragment)
    except ValueError:
        raise ConfigurationError(f"'{shown}' is no URL of an object store") from None
    if has_secrets:
        raise ConfigurationError(
            f"'{shown}': credentials and options do not belong in the URL: use the environment"
        )
    if url.scheme == "file":
        raise ConfigurationError(
            f"'{shown}': a directory cannot be written conditionally; use a path instead of a URL"
        )
    if not url.netloc or not is_bucket_url(store):
        raise ConfigurationError(
            f"'{shown}' is no URL of an object store: s3://, gs://, az:// or memory://"
        )
    base = f"{url.scheme}://{url.netloc}"
    path = "/".join(filter(None, [*url.path.split("/"), *prefix.split("/")]))
    if url.scheme == "memory":
        if options:
            raise ConfigurationError(f"memory:// takes no options, such as '{min(options)}'")
        with _memory_lock:
            kept = _memory.setdefault(url.netloc, None) or module.store.MemoryStore()
            _memory[url.netloc] = kept
        return Bucket(Client(kept, kind="memory", deadline=deadline, pace=pace or 0.0), path, base)
    _check_endpoint(options)
    client_options = dict(options.pop("client_options", None) or {})
    client_options.setdefault("allow_http", _wants_http(options))
    client_options.setdefault("connect_timeout", timedelta(seconds=min(timeout, 2.0)))
    stores = [
        _make(
            module,
            base,
            {"timeout": timedelta(seconds=seconds), **client_options},
            options,
        )
        for seconds in (timeout, timeout * _BULK)
    ]
    kind = _SCHEMES[url.scheme]
    if pace is None:
        is_slow = kind == "gs" or any(_R2 in value for value in _endpoints(options))
        pace = _SLOW_PACE if is_slow else 0.0
    return Bucket(Client(*stores, kind=kind, deadline=deadline, pace=pace), path, base)


def _wrap(
    store: Any, prefix: str, deadline: float, pace: float | None, options: Mapping[str, Any]
) -> Bucket:
    name = type(store).__name__
    if options:
        raise ConfigurationError("options are for URLs; a store that is made has its own")
    if name in ("LocalStore", "HTTPStore"):
        raise ConfigurationError(f"obstore's {name} cannot write conditionally")
    kind = _KINDS.get(name, name)
    base = f"{kind}://{(getattr(store, 'config', None) or {}).get('bucket', name)}"
    if pace is None:
        pace = _SLOW_PACE if kind == "gs" else 0.0
    client = Client(store, kind=kind, deadline=deadline, pace=pace)
    return Bucket(client, prefix.strip("/"), base)


def _make(
    module: Any, base: str, client_options: Mapping[str, Any], options: Mapping[str, Any]
) -> Any:
    known = module.exceptions
    try:
        return module.store.from_url(
            base, client_options=client_options, retry_config={"max_retries": 0}, **options
        )
    except known.UnknownConfigurationKeyError as error:
        unknown = [key for key in options if f"'{key}'" in str(error)]
        problem = f"the store has no option {', '.join(unknown) or 'of that name'}"
    except (known.BaseError, ValueError, TypeError):
        # obstore's message repeats the value, which may be a secret.
        names = ", ".join(sorted(options)) or "those of the environment"
        problem = f"an option of the store has no such value, or one is missing ({names})"
    raise ConfigurationError(f"{base}: {problem}")


def _check_endpoint(options: Mapping[str, Any]) -> None:
    for name, value in options.items():
        if name.lower().endswith(("endpoint", "endpoint_url")) and "://" not in str(value):
            raise ConfigurationError(f"{name} has to begin with http:// or https://")


def _wants_http(options: Mapping[str, Any]) -> bool:
    """Tell whether the endpoint has no encryption, because its owner says so."""
    return any(value.startswith("http://") for value in _endpoints(options))


def _endpoints(options: Mapping[str, Any]) -> list[str]:
    given = [str(value) for name, value in options.items() if "endpoint" in name.lower()]
    return given or [os.environ.get(name, "") for name in _ENDPOINTS]
