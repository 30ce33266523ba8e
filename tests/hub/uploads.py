"""The writing half of the local Hub: create a repository, choose the upload mode, accept a commit. Needs a token."""

import base64
import json
import re

_REPO = r"(?P<kind>models|datasets)/(?P<repo>[^/]+/[^/]+)"
_PREUPLOAD = re.compile(rf"^/api/{_REPO}/preupload/main$")
_COMMIT = re.compile(rf"^/api/{_REPO}/commit/main$")
WRITE_TOKEN = "hf_write"


def answer_upload(hub, path, body, authorization):
    """Return (status, record), or None where ``path`` is not about writing."""
    if path == "/api/validate-yaml":
        return 200, {"errors": [], "warnings": []}
    for pattern, answer in ((re.compile("^/api/repos/create$"), _create), (_PREUPLOAD, _preupload), (_COMMIT, _commit)):
        if match := pattern.match(path):
            if authorization != f"Bearer {WRITE_TOKEN}":
                return 401, {"error": "Invalid username or password."}
            return answer(hub, match, body)
    return None


def _create(hub, _, body):
    request = json.loads(body)
    name = f"{request.get('organization') or 'me'}/{request['name']}"
    url = f"{hub.url}/{'datasets/' if request.get('type') == 'dataset' else ''}{name}"
    hub.created.append((request.get("type", "model"), name, request.get("visibility")))
    if name in hub.repos:
        return 409, {"error": "You already created this repository", "url": url}
    hub.commit(name, {".gitattributes": ""})
    return 200, {"url": url}


def _preupload(_, __, body):
    files = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(body)["files"]]
    return 200, {"files": files}


def _commit(hub, match, body):
    records = [json.loads(line) for line in body.splitlines()]
    files = {r["value"]["path"]: base64.b64decode(r["value"]["content"]) for r in records if r["key"] == "file"}
    sha = hub.commit(match["repo"], files)
    url = f"{hub.url}/{'datasets/' if match['kind'] == 'datasets' else ''}{match['repo']}/commit/{sha}"
    return 200, {"success": True, "commitOid": sha, "commitUrl": url, "hookOutput": ""}
