"""Planted keys and addresses appear nowhere in what runs, sensors and their errors write."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLANTED = {
    "CODEFT_ALERT_WEBHOOK": "http://127.0.0.1:9/PLANTED-webhook-4711?key=PLANTED-query-4711",
    "HF_TOKEN": "hf_PLANTEDtoken4711",
    "JINA_API_KEY": "jina_PLANTEDkey4711",
    "CODEFT_POSTGRES_PASSWORD": "PLANTED-password-4711",
}
SECRETS = (b"PLANTED-webhook-4711", b"PLANTED-query-4711", b"hf_PLANTEDtoken4711", b"jina_PLANTEDkey4711")
SECRETS += (b"PLANTED-password-4711",)
SCRIPT = """
import dagster as dg
from codeft_assets.definitions import defs
from codeft_assets.defs.automation.alerts import alert_sensor
from codeft_assets.defs.assets.upstream import upstream_sensor
from codeft_assets.defs.workspace import Workspace
from codeft_assets.origins import jina_reader

instance = dg.DagsterInstance.get()
repository = defs.get_repository_def()

def look(sensor, cursor=None):
    context = dg.build_sensor_context(instance, cursor=cursor, repository_def=repository,
                                      resources={"workspace": Workspace()})
    try:
        data = sensor.evaluate_tick(context)
        for event in data.asset_events:
            instance.report_runless_asset_event(event)
        print("tick", data.skip_message, data.cursor)
        return data.cursor
    except Exception as error:
        import traceback
        print("tick failed", "".join(traceback.format_exception(error)))
        return cursor

cursor = look(alert_sensor)
look(upstream_sensor)
job = defs.resolve_implicit_global_asset_job_def()
for names in (["o1-journey"], ["tiny-textbooks"], ["sdk-docs"]):  # read; gated; the reader's service is down
    keys = {dg.AssetKey(["documents", name]) for name in names}
    done = job.get_subset(asset_selection=keys).execute_in_process(instance=instance, raise_on_error=False,
        run_config={"ops": {f"documents__{names[0].replace('-', '_')}": {"config": {}}}})
    print(names, done.success)
look(alert_sensor, cursor)
"""


@pytest.mark.slow
def test_planted_keys_are_found_nowhere(hub, tmp_path):
    from tests.hub.server import plain_server, seed_samples

    seed_samples(hub)
    hub.repos["nampdn-ai/tiny-textbooks"].gated = True
    hub.fail("^/api/datasets/nampdn-ai/tiny-textbooks", status=403, times=99)
    folders = {name: tmp_path / name for name in ("dagster", "data", "hf", "cache")}
    folders["dagster"].mkdir()
    (folders["dagster"] / "dagster.yaml").write_text((ROOT / "codeft_assets" / "dagster.yaml").read_text())
    with plain_server(lambda path, number: (500, {}, b"down")) as (reader, seen):
        environment = os.environ | PLANTED | {
            "DAGSTER_HOME": str(folders["dagster"]),
            "CODEFT_HOME": str(folders["data"]),
            "HF_HOME": str(folders["hf"]),
            "CODEFT_CACHE": str(folders["cache"]),
            "CODEFT_PROFILE": "full",
            "CODEFT_WORKERS": "1",
            "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        script = SCRIPT.replace("import dagster as dg\n", PRELUDE.format(reader=reader), 1)
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, cwd=ROOT, capture_output=True, check=False
        )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said.decode()[-3000:]
    assert b"tick failed" in said  # the webhook cannot be reached, and says so
    assert b"cannot be reached" in said, said.decode()[-9000:]
    assert b"is gated" in said, said.decode()[-9000:]
    assert any("Bearer jina_PLANTED" in headers.get("Authorization", "") for _, headers in seen)  # it was used
    written = {path: path.read_bytes() for root in folders.values() for path in root.rglob("*") if path.is_file()}
    assert any(path.name == "index.db" for path in written)
    found = [(str(path), secret) for path, content in written.items() for secret in SECRETS if secret in content]
    assert found == []
    assert [secret for secret in SECRETS if secret in said] == []


PRELUDE = """
import dagster as dg
import dataclasses
from codeft_assets import sources
from codeft_assets.origins import origin
from codeft_assets.defs import run_stage
origin.FIRST_WAIT_SECONDS = 0.01
run_stage.RETRY_WAIT_SECONDS = 0
for name in list(sources.SOURCES):
    if name not in ("o1-journey", "tiny-textbooks", "sdk-docs"):
        del sources.SOURCES[name]
docs = sources.SOURCES["sdk-docs"]
sources.SOURCES["sdk-docs"] = dataclasses.replace(
    docs, origin=dataclasses.replace(docs.origin, endpoint="{reader}", urls=docs.origin.urls[:1]))
"""
