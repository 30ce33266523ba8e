"""The asset of annotations with a model behind an endpoint: its costs, the documents left out, no key in sight."""

import json

import dagster as dg
import pytest

from codeft_assets.annotators.endpoint import KEY_VARIABLE
from codeft_assets.defs import run_stage
from codeft_assets.defs.assets.annotations import annotations
from codeft_assets.defs.workspace import Workspace
from codeft_assets.stages.annotation import annotations_stage
from codeft_assets.store.data_root import Store
from tests.assets.fake_endpoint import GOOD, NONSENSE, Endpoint, serving
from tests.assets.test_quality_stages import write_documents

SECRET = "sk-never-shown-1234567890"
NUM = 12
KEY = dg.AssetKey(["quality", "annotations"])


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(run_stage, "SOURCES", {"even": None, "odd": None})
    store = Store(str(tmp_path))
    for first, name in enumerate(run_stage.SOURCES):
        texts = [f"This is document number {number}. Mail jane.miller@fastmail.com" for number in range(first, NUM, 2)]
        write_documents(store, name, texts)
    return store


def materialize(store, **config):
    result = dg.materialize(
        [annotations],
        resources={"workspace": Workspace(root=store.root)},
        run_config={"ops": {"quality__annotations": {"config": config}}},
        raise_on_error=False,
    )
    said = [str(event) for event in result.all_events]
    assert SECRET not in "".join(said) + json.dumps(config)
    return result


def metadata(result):
    [event] = result.get_asset_materialization_events()
    return {name: value.value for name, value in event.materialization.metadata.items()}


def test_a_model_labels_a_sample_beside_the_shipped_labels_and_is_paid_once(store, monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, SECRET)
    endpoint = Endpoint(lambda number: [NONSENSE] * 9 if number == 7 else [GOOD])
    with serving(endpoint) as url:
        settings = {"annotator": "endpoint", "endpoint": url, "model": "fake", "repeated_fraction": 0.5}
        settings |= {"num_documents": NUM, "dollars_per_million_input_tokens": 10.0}
        first = metadata(materialize(store, **settings))
        num_calls = sum(endpoint.calls.values())
        again = metadata(materialize(store, **settings))
        more = metadata(materialize(store, **(settings | {"repeated_fraction": 1.0})))
    assert first["num_calls"] == first["num_calls_all_runs"] == num_calls
    assert first["num_malformed_answers_all_runs"] >= 2
    assert first["dollars_all_runs"] == pytest.approx(first["input_tokens_all_runs"] * 10 / 1e6)
    assert "odd/row 3" in first.get("left_out_all", first["left_out"])  # a table that fits has no second key
    assert first["agreement"] == 1  # the fake endpoint says the same twice
    assert (again["num_calls"], again["units_run"]) == (0, 0)
    assert more["num_calls"] == sum(endpoint.calls.values()) - num_calls <= NUM  # only the second readings are new
    table = store.table("quality/annotations").read()
    judged = table.filter(table["annotator"] != "shipped")
    assert judged.height == NUM - 1
    assert judged["prompt_hash"].unique().to_list() == [annotations_stage().code_version.split("-")[-1]]
    assert table.height > judged.height
    prompts = [body["messages"][0]["content"] for body, _ in endpoint.seen]
    assert not any("jane.miller@fastmail.com" in prompt for prompt in prompts)
    assert all(headers["Authorization"] == f"Bearer {SECRET}" for _, headers in endpoint.seen)


def test_an_endpoint_that_refuses_the_key_fails_without_showing_it(store, monkeypatch):
    from tests.assets.test_annotators import Refusing

    monkeypatch.setenv(KEY_VARIABLE, SECRET)
    with serving(Refusing(401)) as url:
        result = materialize(store, annotator="endpoint", endpoint=url, model="fake", num_documents=2)
    assert not result.success
    [failure] = [event for event in result.all_events if event.is_step_failure]
    assert KEY_VARIABLE in str(failure)


def test_an_annotator_that_does_not_exist_is_refused_before_anything_is_read(store):
    with pytest.raises(dg.DagsterInvalidConfigError, match="annotator not in enum type AnnotatorName got oracle"):
        materialize(store, annotator="oracle")


def test_another_prompt_is_another_code_version(monkeypatch):
    before = annotations_stage().code_version
    monkeypatch.setattr("codeft_assets.curation.quality.annotation.PROMPT_HASH", "0" * 16)
    assert annotations_stage().code_version != before
