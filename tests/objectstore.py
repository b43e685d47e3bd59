"""A real S3 API on this machine: moto's server, which counts the requests that it gets."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from typing import Any

BUCKET = "bucket"
KEYS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_EC2_METADATA_DISABLED": "true",  # else a client without keys asks an address off this machine
}


class ObjectStore:
    """moto's server on a free port of the loopback device, with one empty bucket.

    Attributes:
        asked: requests by (method, path below the bucket).
        away: answer 503 to everything, as a store does that is overloaded.
    """

    def __init__(self) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import make_server

        self.asked: Counter[tuple[str, str]] = Counter()
        self.away = False
        self._application = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self._server.daemon_threads = True
        self.port = self._server.server_port

    def serve(self) -> None:
        """Answers until `close`."""
        self._server.serve_forever()

    def close(self) -> None:
        """Ends it; its contents are gone."""
        self._server.shutdown()
        self._server.server_close()

    def address(self, path: str) -> str:
        """The address of something in the bucket."""
        return f"s3://{BUCKET}/{path}?endpoint_override=127.0.0.1%3A{self.port}&region=us-east-1&scheme=http"

    def gets(self, part: str) -> int:
        """How many files were read whose path has `part` in it."""
        return sum(n for (method, path), n in self.asked.items() if method == "GET" and part in path)

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        self.asked[environ["REQUEST_METHOD"], environ["PATH_INFO"]] += 1
        if self.away:
            start_response("503 Service Unavailable", [("Content-Length", "0")])
            return [b""]
        return self._application(environ, start_response)  # type: ignore[no-any-return]


def make_bucket(store: ObjectStore) -> None:
    """The bucket, empty: what an earlier test left in it is gone."""
    import boto3

    os.environ.update(KEYS)
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{store.port}", region_name="us-east-1")
    found = client.list_buckets()["Buckets"]
    for bucket in found:
        for item in client.list_objects_v2(Bucket=bucket["Name"]).get("Contents", ()):
            client.delete_object(Bucket=bucket["Name"], Key=item["Key"])
    if not found:
        client.create_bucket(Bucket=BUCKET)
