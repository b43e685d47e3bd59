"""A store: files kept under one address (s3://, gs://), by way of pyarrow.fs.

    store = open_store("s3://bucket/runs?region=eu-central-1")
    run = store.under("digits")
    run.put("spec.yaml", b"...")            # there as a whole or not at all
    run.listing("journal")                  # {"journal/log-0.rsj": Entry(bytes, changed_at), ...}

Keys and secrets come from the environment or the machine's role, as for every program on the cluster;
an address holds none. A store cannot append, rename or lock: `mirror` and `store_lock` do without.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit

from raysearch.errors import SpecError, StoreError, unknown

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

_T = TypeVar("_T")

SCHEMES = ("s3", "gs", "gcs")
S3_OPTIONS = ("endpoint_override", "region", "scheme", "anonymous")
CONNECT_S = 5.0
REQUEST_S = 30.0
ATTEMPTS = 4  # of one request, by the client itself
PARALLEL = 8
_SECRET = re.compile(r"key|secret|token|passw|signature|credential", re.IGNORECASE)  # in an option's name
_ROLE = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machines a role"
RAY_VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")  # as `ray job` reads them
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in a store: its bytes, and the Unix time of its last change."""

    size: int
    changed_at: float


def is_address(text: str | os.PathLike[str]) -> bool:
    """True for `scheme://...`, false for a folder."""
    return isinstance(text, str) and bool(_ADDRESS.match(text))


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """Where a store is: scheme, bucket and path in it, and options that belong to all of it."""

    scheme: str
    path: str
    options: tuple[tuple[str, str], ...] = ()

    def under(self, *names: str) -> StoreAddress:
        """The address of something in it."""
        return StoreAddress(self.scheme, "/".join((self.path, *names)), self.options)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def parent(self) -> StoreAddress:
        """The address without its last part."""
        return StoreAddress(self.scheme, self.path.rpartition("/")[0], self.options)

    def __str__(self) -> str:
        query = f"?{urlencode(self.options)}" if self.options else ""
        return f"{self.scheme}://{quote(self.path)}{query}"


def parse_address(text: str) -> StoreAddress:
    """The address that a user wrote.

    Raises:
        SpecError: another scheme, no bucket, an option that there is not, or a secret in it.
    """
    split = keyless(text)
    scheme = "gs" if split.scheme == "gcs" else split.scheme
    shown = f"{split.scheme}://{split.netloc}{split.path}"
    if scheme not in SCHEMES:
        known = "a folder (a local disk, or NFS that all nodes see), s3://bucket/path or gs://bucket/path"
        raise SpecError(f"{shown}: runs are not kept at {split.scheme}://; allowed: {known}")
    if not split.netloc:
        raise SpecError(f"{scheme}://{split.path[:200]}: names no bucket; write {scheme}://bucket/path")
    options = tuple(parse_qsl(split.query, keep_blank_values=True))
    for name, _ in options:
        if scheme != "s3" or name not in S3_OPTIONS:
            raise SpecError(f"{shown}: {unknown('option', name, S3_OPTIONS if scheme == 's3' else ())}")
    path = "/".join(part for part in (split.netloc + split.path).split("/") if part)
    return StoreAddress(scheme, path, options)


def keyless(text: str, what: str = "", instead: str = _ROLE) -> SplitResult:
    """The parts of an address that a user wrote, which holds no key; `HOST:PORT` is one too.

    Args:
        what: where it was written, such as --address; its scheme is said where that is not given.
        instead: what to do in place of writing the key there.

    Raises:
        SpecError: it is no address, or holds a user, password or key, which the message does not repeat.
    """
    try:
        split = urlsplit(text if is_address(text) else f"//{text}")
        options = [found for part in (split.query, split.fragment) for found in parse_qsl(part, True)]
    except ValueError:
        raise SpecError(f"{what or repr(text[:5])}...: is no address") from None
    what = what or f"{split.scheme}://"
    secret = [name for name, value in options if _SECRET.search(name) or "@" in value]
    if "@" in split.netloc or secret:
        where = f"option {secret[0]!r}" if secret else "in front of @"
        raise SpecError(
            f"{what}...: holds a key ({where}), which would be written into files and logs. {instead}"
        )
    for name, value in options:
        if is_address(value):
            keyless(value, f"{what}...?{name}=", instead)
    return split


def check_cluster_address(address: str | None) -> None:
    """Raises SpecError for a Ray cluster's address that holds a key, also one that the environment names."""
    written = {"--address ": address, **{f"{name}=": os.environ.get(name) for name in RAY_VARIABLES}}
    for what, text in written.items():
        if text:
            keyless(text, what, "Set RAY_AUTH_TOKEN, or the headers of RAY_JOB_HEADERS")


class Store:
    """Files below one address. Every error is a StoreError that says the address and what to do."""

    def __init__(self, address: StoreAddress, system: FileSystem) -> None:
        self.address = address
        self._system = system

    def under(self, *names: str) -> Store:
        """What lies below these names."""
        return Store(self.address.under(*names), self._system)

    def put(self, key: str, content: bytes) -> None:
        """Makes `content` the file: at once, as a whole, and durable when this returns."""

        def write() -> None:
            with self._open_output(key) as stream:
                stream.write(content)

        self._do(f"{key} cannot be written", write)

    def put_file(self, key: str, source: Path) -> None:
        """As `put`, with the contents of a local file."""

        def copy() -> None:
            with source.open("rb") as file, self._open_output(key) as stream:
                while piece := file.read(8 << 20):
                    stream.write(piece)

        self._do(f"{key} cannot be written", copy)

    def get(self, key: str) -> bytes | None:
        """The file's contents; None if there is none."""

        def read() -> bytes:
            with self._system.open_input_stream(self._path(key)) as stream:
                return bytes(stream.read())

        try:
            return self._do(f"{key} cannot be read", read)
        except FileNotFoundError:
            return None

    def stream(self, key: str) -> Any:
        """The file, opened for reading; raises FileNotFoundError if there is none."""
        return self._do(f"{key} cannot be read", lambda: self._system.open_input_stream(self._path(key)))

    def fetch(self, key: str, target: Path, seen: str = "") -> str:
        """Makes `target` a copy of the file, at once, unless it still is the version `seen`.

        Returns its version, which may be given as `seen` the next time; empty if there is no such file, or
        the store tells no version.
        """

        def read() -> tuple[str, bytes | None]:
            with self._system.open_input_file(self._path(key)) as file:
                version = _version(file.metadata())
                if version and version == seen:
                    return version, None
                try:
                    return version, bytes(file.read())
                except OSError as error:
                    if self.has(key):
                        raise
                    raise FileNotFoundError(
                        key
                    ) from error  # deleted since it was opened: pyarrow does not say so

        try:
            version, content = self._do(f"{key} cannot be read", read)
        except FileNotFoundError:
            return ""
        if content is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            tmp = target.with_name(f"{target.name}.{os.getpid()}.tmp")
            tmp.write_bytes(content)
            os.replace(tmp, target)
        return version

    def listing(self, folder: str = "") -> dict[str, Entry]:
        """key -> entry of every file below `folder`, keys counted from here; empty if there is none."""
        from pyarrow.fs import FileSelector, FileType

        selector = FileSelector(self._path(folder), recursive=True, allow_not_found=True)
        found = self._do("cannot be listed", lambda: self._system.get_file_info(selector))
        behind = len(self.address.path) + 1
        return {
            info.path[behind:]: Entry(int(info.size), info.mtime_ns / 1e9 if info.mtime_ns else 0.0)
            for info in found
            if info.type is FileType.File
        }

    def folders(self, folder: str = "") -> list[str]:
        """Names of what lies right below `folder` as if in folders, sorted."""
        from pyarrow.fs import FileSelector, FileType

        selector = FileSelector(self._path(folder), allow_not_found=True)
        found = self._do("cannot be listed", lambda: self._system.get_file_info(selector))
        return sorted(info.base_name for info in found if info.type is FileType.Directory)

    def has(self, key: str) -> bool:
        """Whether the file is there."""
        from pyarrow.fs import FileType

        info = self._do(f"{key} cannot be looked for", lambda: self._system.get_file_info(self._path(key)))
        return bool(info.type is FileType.File)

    def delete(self, keys: Iterable[str]) -> None:
        """Deletes files; those that are not there are passed over."""

        def delete(key: str) -> None:
            try:
                self._do(f"{key} cannot be deleted", lambda: self._system.delete_file(self._path(key)))
            except FileNotFoundError:
                return

        self.each(delete, list(keys))

    def each(self, act: Callable[[str], _T], keys: list[str]) -> list[_T]:
        """`act` of every key, several at a time; the first error is raised."""
        if len(keys) < 2:
            return [act(key) for key in keys]
        with ThreadPoolExecutor(min(PARALLEL, len(keys)), thread_name_prefix="store") as pool:
            return list(pool.map(act, keys))

    def _path(self, key: str) -> str:
        return f"{self.address.path}/{key}" if key else self.address.path

    def _open_output(self, key: str) -> Any:
        # Delayed: what is below the size of a part is one request, not three.
        return self._system.open_output_stream(self._path(key))

    def _do(self, failure: str, act: Callable[[], _T]) -> _T:
        from pyarrow import ArrowException

        try:
            return act()
        except FileNotFoundError:
            raise
        except (OSError, ArrowException) as error:
            raise StoreError(f"{self.address}: {failure}: {_said(error)}{_hint(error)}") from error


def open_store(address: StoreAddress | str) -> Store:
    """The store at an address; nothing is asked of it yet.

    Raises:
        SpecError: the address is wrong.
        StoreError: pyarrow was built without this kind of store.
    """
    address = parse_address(address) if isinstance(address, str) else address
    try:
        system = _s3(dict(address.options)) if address.scheme == "s3" else _gcs()
    except ImportError as error:
        raise StoreError(f"{address}: this pyarrow cannot reach {address.scheme}://: {error}") from error
    except (OSError, ValueError) as error:
        raise StoreError(f"{address}: cannot be opened: {error}") from error
    return Store(address, system)


def _version(said: Mapping[str, bytes] | None) -> str:
    """What tells a file's contents from others it had under the same name; its time may be whole seconds."""
    tags = {name.lower(): tag for name, tag in (said or {}).items()}
    return tags.get("etag", b"").decode()


def _s3(options: dict[str, str]) -> FileSystem:
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

    endpoint = options.get("endpoint_override") or os.environ.get(
        "AWS_ENDPOINT_URL_S3", os.environ.get("AWS_ENDPOINT_URL")
    )
    if endpoint:
        keyless(endpoint, "the endpoint ")
    if endpoint and "://" in endpoint:
        options.setdefault("scheme", urlsplit(endpoint).scheme)
        endpoint = urlsplit(endpoint).netloc
    settings: dict[str, Any] = {"endpoint_override": endpoint} if endpoint else {}
    region = options.get("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if region or endpoint:  # an endpoint of one's own asks for no region
        settings["region"] = region or "us-east-1"
    if "scheme" in options:
        settings["scheme"] = options["scheme"]
    return S3FileSystem(
        anonymous=options.get("anonymous", "").lower() in ("1", "true", "yes"),
        connect_timeout=CONNECT_S,
        request_timeout=REQUEST_S,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
        allow_delayed_open=True,
        background_writes=False,
        **settings,
    )


def _gcs() -> FileSystem:
    from datetime import timedelta

    from pyarrow.fs import GcsFileSystem

    return GcsFileSystem(retry_time_limit=timedelta(seconds=REQUEST_S))


_HINTS = {
    "NO_SUCH_BUCKET": "there is no such bucket: make it, or correct `storage:`",
    "ACCESS_DENIED": "the key or role here may not do that: it needs to list, read, write and delete there",
    "INVALID_ACCESS_KEY_ID": "the key is not known there: look at AWS_ACCESS_KEY_ID",
    "SIGNATURE_DOES_NOT_MATCH": "the secret does not fit the key: look at AWS_SECRET_ACCESS_KEY",
    "NETWORK_CONNECTION": "it cannot be reached: look at the network, the region and the endpoint",
    "credentials": "there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role",
}


def _hint(error: Exception) -> str:
    text = str(error)
    return next((f". {hint}" for mark, hint in _HINTS.items() if mark in text), "")


def _said(error: Exception) -> str:
    """The text of the client's error, without the request's number."""
    return re.sub(r"\s*\(Request ID: [^)]*\)", "", str(error)).strip().rstrip(".")
