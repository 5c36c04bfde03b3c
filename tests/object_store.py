"""A Google Cloud Storage that runs in the test: an HTTP server over a dictionary.

It serves the part of the JSON API that gcsfs (behind `etils.epath`), TensorStore (behind Orbax) and
google-cloud-storage (Orbax' check for hierarchical namespaces) use. It is an object store and no
more: objects are written whole, listings are consistent, and copying, moving and rewriting (which a
"rename" becomes), composing (which an "append" becomes) and patching are refused and recorded in
`FakeObjectStore.refused`, so that a test can assert that none was tried. gcsfs turns an "append"
into writing over the object, and loses its content: look for that in `FakeObjectStore.overwritten`.

Client libraries read their settings when they are imported, so code under test runs in a process of
its own, with `FakeObjectStore.environment()`; see `run_on_object_store`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import urllib.parse
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent


@dataclasses.dataclass(frozen=True)
class StoredObject:
    """The newest generation of one object."""

    content: bytes
    generation: int


class FakeObjectStore:
    """The server. Use as a context manager: it serves from entry to exit.

    Attributes:
        buckets: bucket name -> object name -> object. Tests may read it at any time.
        requests: (method, path) of every request, in order of arrival.
        refused: (method, path) of every request for an operation that an object store lacks.
        overwritten: gs:// paths of objects that were written over, once for each time.
        unknown: (method, path) of every request that this server does not implement.
    """

    def __init__(self, buckets: Sequence[str] = ("bucket",)):
        self.buckets: dict[str, dict[str, StoredObject]] = {name: {} for name in buckets}
        self.requests: list[tuple[str, str]] = []
        self.refused: list[tuple[str, str]] = []
        self.overwritten: list[str] = []
        self.unknown: list[tuple[str, str]] = []
        self.uploads: dict[str, tuple[str, str, dict[str, str], bytearray]] = {}
        self.lock = threading.RLock()
        self._generation = 0
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> FakeObjectStore:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Address of the server, without a slash at its end."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def environment(self) -> dict[str, str]:
        """Returns the variables under which gs:// paths lead here, to add to a process' own."""
        has_proxy = any(name.lower().endswith("_proxy") for name in os.environ)
        return {
            # Without it epath takes TensorFlow's file system wherever TensorFlow is installed, and
            # that one has no setting for another host.
            "EPATH_USE_TF": "false",
            "STORAGE_EMULATOR_HOST": self.url,  # gcsfs, google-cloud-storage.
            "FSSPEC_GCS": '{"token": "anon"}',
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # It asks about buckets by gRPC.
            "GOOGLE_CLOUD_PROJECT": "test",
            "NO_GCE_CHECK": "true",
            "TENSORSTORE_GCS_HTTP_URL": self.url,
            "GOOGLE_AUTH_TOKEN_FOR_TESTING": "fake",  # TensorStore.
            # JAX warns of any proxy variable, so this is set only beside others.
            **({"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"} if has_proxy else {}),
        }

    def names(self, bucket: str = "bucket") -> list[str]:
        """Returns the names of a bucket's objects, sorted."""
        with self.lock:
            return sorted(self.buckets[bucket])

    def read(self, name: str, bucket: str = "bucket") -> bytes:
        """Returns an object's content."""
        with self.lock:
            return self.buckets[bucket][name].content

    def put(self, name: str, content: bytes, bucket: str = "bucket") -> StoredObject:
        """Stores an object, as one step."""
        with self.lock:
            self._generation += 1
            stored = StoredObject(content, self._generation)
            self.buckets[bucket][name] = stored
            return stored


def run_on_object_store(
    store: FakeObjectStore,
    argv: Sequence[str],
    *,
    env: dict[str, str] | None = None,
    timeout_seconds: float = 300,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Runs Python in a process for which gs:// is `store`.

    Args:
        store: a store that is serving.
        argv: arguments of the interpreter, such as `["-m", "teacherlm_jax.main.train", ...]` or
            `["-c", "..."]`.
        env: further environment variables.
        timeout_seconds: after it the process is killed and the test fails.
        check: whether an exit status other than 0 fails the test, with the process' output.

    Returns:
        The finished process, with its output as text.
    """
    finished = subprocess.run(
        [sys.executable, *argv],
        cwd=REPOSITORY,
        env={
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "PYTHONPATH": str(REPOSITORY),
            **store.environment(),
            **(env or {}),
        },
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )
    if check and finished.returncode != 0:
        raise AssertionError(
            f"{argv} ended with {finished.returncode}; refused {store.refused}, unknown"
            f" {store.unknown}\n{finished.stdout[-4000:]}\n{finished.stderr[-8000:]}"
        )
    return finished


class _Server(http.server.ThreadingHTTPServer):
    """Serves a store; says nothing when a client breaks a connection off, as gcsfs often does."""

    daemon_threads = True

    def __init__(self, store: FakeObjectStore):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.store = store

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Reports errors of this server, not those of its clients."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@dataclasses.dataclass(frozen=True)
class _Answer:
    status: int
    body: bytes = b""
    headers: dict[str, str] = dataclasses.field(default_factory=dict)


class _Handler(http.server.BaseHTTPRequestHandler):
    """One request. Objects are addressed as /storage/v1/b/BUCKET/o/NAME, NAME percent-encoded."""

    protocol_version = "HTTP/1.1"
    # Headers and body leave in two writes; with Nagle's algorithm each answer waits for 40 ms.
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        """Keeps quiet."""

    def _serve(self) -> None:
        parts = urllib.parse.urlsplit(self.path)
        self.store: FakeObjectStore = self.server.store  # type: ignore[attr-defined]
        self.query = dict(urllib.parse.parse_qsl(parts.query))
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.store.lock:
            self.store.requests.append((self.command, parts.path))
            answer = self._route(parts.path)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status not in (204, 304):
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _serve

    def _route(self, path: str) -> _Answer:
        if self.command == "PATCH" or re.search(
            r"/(rewriteTo|copyTo|moveTo)/(b|o)/|/compose$", path
        ):
            self.store.refused.append((self.command, path))
            # Not 5xx: that would be retried for minutes.
            return _error(405, "an object store does not copy, move, compose or patch")
        if match := re.fullmatch(r"/upload/(?:storage/v1|resumable)/b/([^/]+)/o", path):
            bucket = urllib.parse.unquote(match[1])
            return self._upload(bucket) if bucket in self.store.buckets else _no_bucket(bucket)
        if match := re.fullmatch(r"(?:/download)?/storage/v1/b/([^/]+)(/.*)?", path):
            bucket, rest = urllib.parse.unquote(match[1]), match[2] or ""
            if bucket not in self.store.buckets:
                return _no_bucket(bucket)
            if rest == "" and self.command == "GET":
                return _json({"kind": "storage#bucket", "id": bucket, "name": bucket})
            if rest == "/o" and self.command == "GET":
                return self._list(bucket)
            if rest.startswith("/o/") and self.command in ("GET", "DELETE"):
                return self._object(bucket, urllib.parse.unquote(rest.removeprefix("/o/")))
        return self._unknown()

    def _unknown(self) -> _Answer:
        self.store.unknown.append((self.command, self.path))
        return _error(400, f"the fake object store has no {self.command} {self.path}")

    def _list(self, bucket: str) -> _Answer:
        """Lists as https://cloud.google.com/storage/docs/json_api/v1/objects/list says."""
        prefix, delimiter = self.query.get("prefix", ""), self.query.get("delimiter", "")
        start, end = self.query.get("startOffset", ""), self.query.get("endOffset")
        last_sent = self.query.get("pageToken", "")
        limit = min(int(self.query.get("maxResults", 1000)), 1000)
        names: list[str] = []
        folders: set[str] = set()
        page: dict[str, Any] = {"kind": "storage#objects"}
        for name in sorted(self.store.buckets[bucket]):
            if not name.startswith(prefix) or name < start or (end is not None and name >= end):
                continue
            cut = name.find(delimiter, len(prefix)) if delimiter else -1
            entry = name if cut < 0 else name[: cut + len(delimiter)]
            if entry <= last_sent or entry in folders:
                continue
            if len(names) + len(folders) == limit:
                page["nextPageToken"] = max([*names, *folders])
                break
            if cut < 0:
                names.append(name)
            else:
                folders.add(entry)
        objects = self.store.buckets[bucket]
        page["items"] = [_metadata(bucket, name, objects[name]) for name in names]
        page["prefixes"] = sorted(folders)
        return _json(page)

    def _object(self, bucket: str, name: str) -> _Answer:
        stored = self.store.buckets[bucket].get(name)
        if refusal := self._precondition(stored, self.query):
            return refusal
        if stored is None:
            return _error(404, f"no object {name!r}")
        if self.command == "DELETE":
            del self.store.buckets[bucket][name]
            return _Answer(204)
        if self.query.get("alt") == "media":
            return self._media(stored)
        return _json(_metadata(bucket, name, stored))

    def _media(self, stored: StoredObject) -> _Answer:
        headers = {"x-goog-generation": str(stored.generation)}
        size = len(stored.content)
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if not match:
            return _Answer(200, stored.content, headers)
        first = int(match[1]) if match[1] else max(size - int(match[2]), 0)
        last = min(int(match[2]), size - 1) if match[1] and match[2] else size - 1
        if first >= size:
            return _Answer(416, headers={**headers, "Content-Range": f"bytes */{size}"})
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        return _Answer(206, stored.content[first : last + 1], headers)

    def _upload(self, bucket: str) -> _Answer:
        """Takes the three kinds of upload: in one piece, with metadata, and resumable."""
        kind = self.query.get("uploadType")
        if "upload_id" in self.query:
            return self._upload_chunk(self.query["upload_id"])
        if kind == "media":
            return self._store(bucket, self.query["name"], self.body, self.query)
        if kind == "multipart":
            boundary = re.search(r'boundary="?([^";]+)', self.headers["Content-Type"])
            assert boundary, self.headers["Content-Type"]
            metadata, content = _parse_multipart(self.body, boundary[1].encode())
            return self._store(bucket, metadata["name"], content, self.query)
        if kind == "resumable":
            name = self.query.get("name") or json.loads(self.body)["name"]
            upload_id = str(len(self.store.uploads))
            self.store.uploads[upload_id] = (bucket, name, self.query, bytearray())
            location = f"{self.store.url}/upload/resumable/b/{bucket}/o?upload_id={upload_id}"
            return _Answer(200, headers={"Location": location})
        return self._unknown()

    def _upload_chunk(self, upload_id: str) -> _Answer:
        """Takes a chunk; nothing is visible in the bucket before the last."""
        bucket, name, query, received = self.store.uploads[upload_id]
        match = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", self.headers["Content-Range"])
        assert match, self.headers["Content-Range"]
        if match[1] is not None:
            received[int(match[1]) :] = self.body
        if match[2] != "*" and len(received) == int(match[2]):
            return self._store(bucket, name, bytes(received), query)
        return _Answer(308, headers={"Range": f"bytes=0-{len(received) - 1}"} if received else {})

    def _store(self, bucket: str, name: str, content: bytes, query: dict[str, str]) -> _Answer:
        stored = self.store.buckets[bucket].get(name)
        if refusal := self._precondition(stored, query):
            return refusal
        if stored is not None:
            self.store.overwritten.append(f"gs://{bucket}/{name}")
        return _json(_metadata(bucket, name, self.store.put(name, content, bucket)))

    def _precondition(self, stored: StoredObject | None, query: dict[str, str]) -> _Answer | None:
        """Returns a refusal where the request is for another generation than the stored."""
        generation = stored.generation if stored else 0
        wanted, unwanted = query.get("ifGenerationMatch"), query.get("ifGenerationNotMatch")
        if wanted is not None and int(wanted) != generation:
            return _error(412, f"generation is {generation}, not {wanted}")
        if unwanted is not None and int(unwanted) == generation:
            return _Answer(304) if self.command == "GET" else _error(412, "generation matches")
        return None


def _json(value: Any, status: int = 200) -> _Answer:
    return _Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"})


def _error(status: int, message: str) -> _Answer:
    return _json({"error": {"code": status, "message": message, "errors": []}}, status)


def _no_bucket(bucket: str) -> _Answer:
    return _error(404, f"no bucket {bucket!r}")


def _metadata(bucket: str, name: str, stored: StoredObject) -> dict[str, str]:
    return {
        "kind": "storage#object",
        "name": name,
        "bucket": bucket,
        "generation": str(stored.generation),
        "metageneration": "1",
        "size": str(len(stored.content)),
        "md5Hash": b64encode(hashlib.md5(stored.content).digest()).decode(),
        "timeCreated": "2024-01-01T00:00:00.000Z",
        "updated": "2024-01-01T00:00:00.000Z",
        "contentType": "application/octet-stream",
        "storageClass": "STANDARD",
    }


def _parse_multipart(body: bytes, boundary: bytes) -> tuple[dict[str, Any], bytes]:
    """Splits a multipart/related upload into its JSON metadata and the object's content."""
    _, metadata, content = body.split(b"--" + boundary, 2)
    blank = re.compile(rb"\r?\n\r?\n")
    content = content[: content.rindex(b"--" + boundary)]
    return json.loads(blank.split(metadata, 1)[1]), re.sub(
        rb"\r?\n\Z", b"", blank.split(content, 1)[1]
    )
