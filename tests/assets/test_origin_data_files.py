"""The data files of a split, beside those that ``datasets`` finds through the Hub's real protocol."""

import json

import pytest
import yaml

from codeft_assets.origins import HubOrigin
from codeft_assets.origins.data_files import is_data_file, resolve_splits


def resolve(paths, configs=None, *, config=None, splits=("train",), patterns=()):
    from huggingface_hub import DatasetCardData

    card = DatasetCardData(configs=configs) if configs else None
    found = resolve_splits(
        [path for path in paths if is_data_file(path)], card, config=config, splits=splits, patterns=patterns
    )
    return dict(sorted(found.items()))


def declared(name, data_files=None, **fields):
    return {"config_name": name, **({"data_files": data_files} if data_files else {}), **fields}


LAYOUTS = {
    "one file": (["data.jsonl"], None, None),
    "shards": (["data/train-00000-of-00002.jsonl", "data/train-00001-of-00002.jsonl", "old/train.jsonl"], None, None),
    "other splits": (["train.jsonl", "test.jsonl", "dev.jsonl", "notes.jsonl"], None, None),
    "folders": (["sub/train/a.jsonl", "sub/test/b.jsonl", "c.jsonl"], None, None),
    "no split in the names": (["a.jsonl", "b/c.jsonl", "b/contest.jsonl"], None, None),
    "hidden": (["a.jsonl", ".hidden/b.jsonl", "__pycache__/c.jsonl", ".d.jsonl"], None, None),
    "odd names": (["x/a b[1].jsonl", "x/{{b}}.jsonl", "x/ü#?.jsonl", "version.jsonl"], None, None),
    "a pattern": (["a.jsonl", "sub/b.jsonl"], [declared("default", "*.jsonl")], None),
    "any depth": (["a.jsonl", "sub/b.jsonl", "sub/sub/c.jsonl"], [declared("default", "**/*.jsonl")], None),
    "a list": (["a.jsonl", "b.jsonl", "c.jsonl"], [declared("default", ["a.jsonl", "b*"])], None),
    "splits": (
        ["a.jsonl", "b.jsonl"],
        [declared("default", [{"split": "train", "path": ["b.jsonl"]}, {"split": "test", "path": "a.jsonl"}])],
        None,
    ),
    "the only config": (["a.jsonl", "b.jsonl"], [declared("some", "b.jsonl")], None),
    "a named config": (["a.jsonl", "b.jsonl"], [declared("one", "a.jsonl"), declared("two", "b.jsonl")], "two"),
    "default: true": (
        ["a.jsonl", "b.jsonl"],
        [declared("one", "a.jsonl"), declared("two", "b.jsonl", default=True)],
        None,
    ),
    "data_dir": (
        ["one/train.jsonl", "two/train.jsonl"],
        [declared("one", data_dir="one"), declared("two", data_dir="two")],
        "two",
    ),
    "data_dir and files": (["one/x.jsonl", "x.jsonl"], [declared("default", "x.jsonl", data_dir="one")], None),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_files_of_the_train_split_are_those_of_datasets(hub, cache, tmp_path, name):
    from datasets import load_dataset_builder

    paths, configs, config = LAYOUTS[name]
    card = {"configs": configs} if configs else {}
    row = json.dumps({"text": "a"})
    hub.commit("me/set", {path: row for path in paths} | {"README.md": f"---\n{yaml.safe_dump(card)}---\n"})
    hub.repos["me/set"].card = card
    builder = load_dataset_builder("me/set", config, cache_dir=str(tmp_path))
    expected = sorted({str(url).split("@", 1)[1].split("/", 1)[1] for url in builder.config.data_files["train"]})
    found = [file.path for file in HubOrigin(repo_id="me/set", config=config).resolve().files]
    assert found == expected
    assert expected


def test_a_script_beside_the_data_does_not_decide_the_splits():
    assert resolve(["train.py", "test.md", "rows.jsonl"]) == {"rows.jsonl": "train"}


def test_files_that_are_no_data_are_left_out():
    assert resolve(["a.json", "dataset_infos.json", "state.json", "requirements.txt", "LICENSE.txt", "b.png"]) == {
        "a.json": "train"
    }


def test_a_file_of_two_wanted_splits_belongs_to_the_first():
    configs = [declared("default", [{"split": "x", "path": "*.jsonl"}, {"split": "y", "path": "a.jsonl"}])]
    assert resolve(["a.jsonl", "b.jsonl"], configs, splits=("y", "x")) == {"a.jsonl": "y", "b.jsonl": "x"}


def test_patterns_of_the_catalogue_take_the_place_of_the_card():
    configs = [declared("one", "a.jsonl"), declared("two", "b.jsonl")]
    paths = ["a.jsonl", "b.jsonl", "sub/c.jsonl"]
    assert resolve(paths, configs, splits=("x",), patterns=("b.jsonl", "sub/*")) == {"b.jsonl": "x", "sub/c.jsonl": "x"}
    assert resolve(paths, configs, patterns=("*.jsonl",)) == {"a.jsonl": "train", "b.jsonl": "train"}


@pytest.mark.parametrize(
    ("configs", "config", "message"),
    [
        (None, "one", r"config 'one' is none of those its card declares, \[\]"),
        ([declared("one", "a.jsonl")], "two", r"config 'two' is none of those its card declares, \['one'\]"),
        ([declared("one", "a.jsonl"), declared("two", "a.jsonl")], None, r"configs \['one', 'two'\] and no default"),
        ([declared("one", "gone.jsonl")], None, "'gone.jsonl' is not in the repository"),
        ([declared("one", {"train": "a.jsonl"})], None, "Expected data_files in YAML"),
        ([{"data_files": "a.jsonl"}], None, "must include `config_name`"),
    ],
)
def test_a_config_that_cannot_be_read_is_an_error(configs, config, message):
    with pytest.raises(ValueError, match=message):
        resolve(["a.jsonl"], configs, config=config)


@pytest.mark.parametrize(
    "pattern",
    ["/etc/*.json", "https://example.com/a.jsonl", "hf://datasets/other/set/a.jsonl", "*.jsonl::https://example.com/a.zip"],
)  # fmt: skip
def test_no_pattern_of_a_card_leads_out_of_the_repository(pattern):
    with pytest.raises(ValueError, match="is not a path inside the repository"):
        resolve(["a.jsonl"], [declared("default", pattern)])


def test_a_parent_folder_matches_nothing():
    assert resolve(["a.jsonl"], [declared("default", ["../*.jsonl", "a.jsonl"])]) == {"a.jsonl": "train"}
