"""A stand-in for the W&B server on loopback: what the real client sends is taken and kept, in memory.

Strict: an operation or path that is not known here is answered with 500 and kept in `unknown`, which the
fixture asserts to be empty. Faults are switched on by `fault`: "429", "401", "500", "hang" or "down".
"""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CANARY = "0123456789canary" + "ab" * 12  # the key of the tests, looked for everywhere afterwards


class StandIn:
    """The server's state; `url` is where it listens."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.history: dict[str, list[str]] = defaultdict(list)
        self.files: dict[str, bytes] = {}
        self.artifacts: dict[str, dict[str, Any]] = {}
        self.views: dict[str, dict[str, Any]] = {}
        self.projects: set[str] = set()
        self.alerts: list[tuple[str, str]] = []
        self.unknown: list[str] = []
        self.keys: set[str] = set()
        self.calls: list[str] = []
        self.fault = ""
        self.fault_after: tuple[int, str] | None = None  # rows taken until the fault sets in
        self._lock = threading.RLock()
        self._release = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.standin = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._release.set()
        self._server.shutdown()
        self._server.server_close()

    def rows(self, run: str) -> list[dict[str, Any]]:
        """The history of a run as the server has it."""
        return [json.loads(line) for line in self.history[run]]

    def config(self, run: str) -> dict[str, Any]:
        written = json.loads(self.runs[run].get("config") or "{}")
        return {name: entry["value"] for name, entry in written.items() if name != "_wandb"}

    # ---- GraphQL

    def answer(self, operation: str, query: str, v: dict[str, Any]) -> Any:
        """The `data` of an operation. Raises KeyError for one that is not known."""
        with self._lock:
            self.calls.append(operation)
            return getattr(self, f"op_{operation}")(v)

    def op_Viewer(self, v: dict[str, Any]) -> Any:
        viewer = {
            "id": "u",
            "entity": "team",
            "username": "ada",
            "email": "",
            "flags": "{}",
            "admin": False,
            "name": "ada",
        }
        return {
            "viewer": {**viewer, "teams": {"edges": [{"node": {"name": "team"}}]}, "apiKeys": {"edges": []}},
            "serverInfo": self._info(),
        }

    def _info(self) -> Any:
        return {
            "cliVersionInfo": {"max_cli_version": "9.9.9", "min_cli_version": "0.1.0"},
            "latestLocalVersionInfo": None,
            "features": [],
        }

    def op_GetViewer(self, v: dict[str, Any]) -> Any:  # of the public API before 0.28
        return self.op_Viewer(v)

    def op_ServerFeaturesQuery(self, v: dict[str, Any]) -> Any:
        return {"serverInfo": {"features": []}}

    def op_GetDefaultEntity(self, v: dict[str, Any]) -> Any:
        return {"viewer": {"id": "u", "entity": "team"}}

    def op_Run(self, v: dict[str, Any]) -> Any:
        run = self.runs.get(v["name"])
        if run is None:
            return {"project": {"run": None}}
        lines = self.history[v["name"]]
        keys = {"lastStep": json.loads(lines[-1])["_step"] if lines else -1, "keys": {}, "sets": []}
        more = {
            "projectId": "1",
            "state": run["state"],
            "group": run.get("groupName"),
            "jobType": run.get("jobType"),
            "commit": None,
            "readOnly": False,
            "createdAt": "2026-01-01T00:00:00",
            "heartbeatAt": "2026-01-01T00:00:00",
            "systemMetrics": "{}",
            "user": {"name": "ada", "username": "ada"},
            "historyKeys": keys,
        }
        return {"project": {"run": {**self._bucket(run), **more}}}

    def op_RunHistoryKeys(self, v: dict[str, Any]) -> Any:
        run = self.op_Run(v)["project"]["run"]
        return {"project": {"run": run and {"historyKeys": run["historyKeys"]}}}

    def op_Runs(self, v: dict[str, Any]) -> Any:
        edges = []
        for name in self.runs:
            run = self.op_Run({"name": name})["project"]["run"]
            edges.append({"node": {**run, "historyKeys": None}, "cursor": name})
        page = {"endCursor": None, "hasNextPage": False}
        found = {"edges": edges, "pageInfo": page}
        return {"project": {"internalId": "1", "runCount": len(edges), "readOnly": False, "runs": found}}

    def op_RunSampledHistory(self, v: dict[str, Any]) -> Any:
        keys = json.loads(v["specs"][0])["keys"]
        rows = [{k: row[k] for k in keys} for row in self.rows(v["name"]) if all(k in row for k in keys)]
        return {"project": {"run": {"sampledHistory": [rows]}}}

    # ---- reports

    def op_CreateProject(self, v: dict[str, Any]) -> Any:
        self.projects.add(v["input"]["name"])
        project = {"id": "p", "name": v["input"]["name"], "entityName": v["input"]["entityName"]}
        made = {**project, "description": None, "access": "PRIVATE", "views": None}
        return {"result": {"project": made, "model": made, "inserted": True}}

    def op_GetProjects(self, v: dict[str, Any]) -> Any:
        names = self.projects | {run["project"] for run in self.runs.values()}
        nodes = [
            {
                "node": {
                    "id": n,
                    "name": n,
                    "entityName": "team",
                    "createdAt": "2026-01-01T00:00:00",
                    "isBenchmark": False,
                    "user": None,
                }
            }
            for n in names
        ]
        return {"models": {"edges": nodes, "pageInfo": {"endCursor": None, "hasNextPage": False}}}

    def op_upsertView(self, v: dict[str, Any]) -> Any:
        identity = v.get("id") or f"view{len(self.views)}"
        self.views[identity] = dict(v)
        view = {
            "id": identity,
            "type": v["type"],
            "name": v["name"],
            "displayName": v["displayName"],
            "description": v["description"],
        }
        project = {"id": "p", "name": v["projectName"], "entityName": v["entityName"]}
        more = {
            "project": project,
            "spec": v["spec"],
            "user": None,
            "createdAt": None,
            "updatedAt": None,
            "previewUrl": None,
        }
        return {"upsertView": {"view": {**view, **more}, "inserted": v.get("id") is None}}

    # ---- artifacts

    def op_ArtifactType(self, v: dict[str, Any]) -> Any:
        found = self.artifacts.get(v["name"].split(":")[0])
        return {"project": {"artifact": found and {"artifactType": {"name": found["type"]}}}}

    def op_CreateArtifact(self, v: dict[str, Any]) -> Any:
        given = v.get("input") or v
        name = given["artifactCollectionName"] or given["artifactCollectionNames"][0]
        known = self.artifacts.setdefault(
            name, {"type": given["artifactTypeName"], "versions": [], "files": set()}
        )
        again = [a for a in known["versions"] if a["digest"] == given["digest"]]
        if not again:
            version = {
                "digest": given["digest"],
                "state": "PENDING",
                "id": f"{name}:{len(known['versions'])}",
            }
            known["versions"].append(version)
            again = [version]
        sequence = {"id": name, "latestArtifact": None}
        return {
            "createArtifact": {
                "artifact": {"id": again[-1]["id"], "state": again[-1]["state"], "artifactSequence": sequence}
            }
        }

    def op_CreateArtifactManifest(self, v: dict[str, Any]) -> Any:
        return {
            "createArtifactManifest": {
                "artifactManifest": {"id": "manifest", "file": self._upload("manifest", v)}
            }
        }

    def op_UpdateArtifactManifest(self, v: dict[str, Any]) -> Any:
        return {
            "updateArtifactManifest": {
                "artifactManifest": {"id": "manifest", "file": self._upload("manifest", v)}
            }
        }

    def _upload(self, name: str, v: dict[str, Any]) -> Any:
        url = f"{self.url}/upload/artifact/{name}"
        return {"id": name, "name": name, "displayName": name, "uploadUrl": url, "uploadHeaders": []}

    def op_CreateArtifactFiles(self, v: dict[str, Any]) -> Any:
        nodes = []
        for asked in v.get("input", v)["artifactFiles"]:
            artifact = asked["artifactID"]
            self.artifacts[artifact.rpartition(":")[0]]["files"].add(asked["name"])
            url = f"{self.url}/upload/artifact/{artifact}/{asked['name']}"
            node = {
                "id": asked["name"],
                "name": asked["name"],
                "displayName": asked["name"],
                "uploadUrl": url,
            }
            more = {
                "uploadHeaders": [],
                "uploadMultipartUrls": None,
                "storagePath": "x",
                "artifact": {"id": artifact},
            }
            nodes.append({"node": {**node, **more}})
        return {"createArtifactFiles": {"files": {"edges": nodes}}}

    def op_CommitArtifact(self, v: dict[str, Any]) -> Any:
        artifact = v["input"]["artifactID"] if "input" in v else v["artifactID"]
        name = artifact.rpartition(":")[0]
        for version in self.artifacts[name]["versions"]:
            if version["id"] == artifact:
                version["state"] = "COMMITTED"
        return {"commitArtifact": {"artifact": {"id": artifact, "digest": "d"}}}

    def op_RunResumeStatus(self, v: dict[str, Any]) -> Any:
        run = self.runs.get(v["name"])
        return {
            "model": {
                "id": "m",
                "name": v["project"],
                "entity": {"id": "e", "name": v.get("entity") or "team"},
                "bucket": run and self._bucket(run),
            }
        }

    def op_UpsertBucket(self, v: dict[str, Any]) -> Any:
        new = v["name"] not in self.runs
        run = self.runs.setdefault(
            v["name"],
            {
                "name": v["name"],
                "project": v["project"],
                "entity": v.get("entity") or "team",
                "state": "running",
            },
        )
        run.update({k: value for k, value in v.items() if value is not None and k != "id"})
        return {"upsertBucket": {"bucket": self._bucket(run), "inserted": new}}

    def _bucket(self, run: dict[str, Any]) -> dict[str, Any]:
        history = self.history[run["name"]]
        project = {"id": "p", "name": run["project"], "entity": {"id": "e", "name": run["entity"]}}
        return {
            "id": run["name"],
            "name": run["name"],
            "displayName": run.get("displayName") or run["name"],
            "description": "",
            "notes": None,
            "tags": run.get("tags") or [],
            "config": run.get("config") or "{}",
            "sweepName": None,
            "project": project,
            "historyLineCount": len(history),
            "logLineCount": 0,
            "eventsLineCount": 0,
            "historyTail": json.dumps(history[-1:]),
            "eventsTail": "[]",
            "summaryMetrics": run.get("summary") or "{}",
            "wandbConfig": json.dumps({"t": {"value": 1}}),
        }

    def op_NotifyScriptableRunAlert(self, v: dict[str, Any]) -> Any:
        self.alerts.append((v["title"], v["text"]))
        return {"notifyScriptableRunAlert": {"success": True}}

    def op_CreateRunFiles(self, v: dict[str, Any]) -> Any:
        files = [{"name": n, "uploadUrl": f"{self.url}/upload/{v['run']}/{n}"} for n in v["files"]]
        return {"createRunFiles": {"runID": v["run"], "uploadHeaders": [], "files": files}}

    # ---- HTTP

    def stream(self, run: str, body: dict[str, Any]) -> None:
        """Takes in what a file stream sends: lines are put at their offset, so that a repeat changes nothing."""  # noqa: E501
        with self._lock:
            for name, part in body.get("files", {}).items():
                if name == "wandb-history.jsonl":
                    lines, at = self.history[run], part["offset"]
                    if at > len(lines):
                        raise ValueError(f"{run}: history has {len(lines)} lines, and a part comes for {at}")
                    lines[at : at + len(part["content"])] = part["content"]
                elif name == "wandb-summary.json":
                    self.runs[run]["summary"] = part["content"][-1]
            if body.get("complete"):
                self.runs[run]["state"] = "finished" if body.get("exitcode", 0) == 0 else "failed"
            if self.fault_after and sum(map(len, self.history.values())) >= self.fault_after[0]:
                self.fault, self.fault_after = self.fault_after[1], None

    def put(self, path: str, body: bytes) -> None:
        with self._lock:
            self.files[path] = body

    def hang(self) -> None:
        """Waits as a server that never answers, until the test is over."""
        self._release.wait()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def standin(self) -> StandIn:
        return self.server.standin  # type: ignore[attr-defined]

    def log_message(self, *_: Any) -> None:
        """Says nothing."""

    def _body(self) -> bytes:
        body = b""
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _send(self, status: int, value: Any) -> None:
        text = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _handle(self) -> None:
        body = self._body()
        if self.headers.get("Authorization"):
            self.standin.keys.add(self.headers["Authorization"])
        fault = self.standin.fault
        if fault == "down":
            self.close_connection = True
            self.connection.close()
            return
        if fault == "hang":
            self.standin.hang()
        if fault in ("429", "401", "500", "hang"):
            self._send(int(fault) if fault != "hang" else 503, {"errors": [{"message": f"fault {fault}"}]})
            return
        try:
            self._route(body)
        except Exception as error:  # noqa: BLE001  (a test's server: the test sees it in `unknown`)
            self.standin.unknown.append(
                f"{type(error).__name__}: {error}: {self.command} {self.path} {body[:3000]!r}"
            )
            self._send(500, {"errors": [{"message": str(error)}]})

    def _route(self, body: bytes) -> None:
        path = self.path
        if path == "/graphql" and self.command == "POST":
            asked = json.loads(body)
            named = re.search(r"(?:query|mutation)\s+(\w+)", asked["query"])
            found = asked.get("operationName") or (named[1] if named else "Viewer")  # which older clients ask
            self._send(
                200, {"data": self.standin.answer(found, asked["query"], asked.get("variables") or {})}
            )
        elif stream := re.fullmatch(r"/files/[^/]+/[^/]+/([^/]+)/file_stream", path):
            self.standin.stream(stream[1], json.loads(body))
            self._send(200, {})
        elif path in ("/sdk/otel/v1/metrics", "/healthz"):
            with contextlib.suppress(ConnectionError):  # a client that ends does not wait for this answer
                self._send(200, b"")
        elif path.startswith("/upload/") and self.command == "PUT":
            self.standin.put(path, body)
            self._send(200, b"")
        elif path.startswith("/upload/") and self.command == "GET":
            self._send(200, self.standin.files[path])
        else:
            raise ValueError("unknown path")

    do_GET = do_POST = do_PUT = _handle
