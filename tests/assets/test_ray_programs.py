"""Training and judging on real raylets: the results of the machine of the asset, whatever is killed."""

import gzip
import json
import os
import shutil
import signal
import threading
from pathlib import Path

import dagster as dg
import pytest

from codeft_assets.base.answers import AnswerStore
from codeft_assets.definitions import defs
from codeft_assets.defs.failures import ExplainedError
from codeft_assets.defs.messages import program_client
from codeft_assets.defs.workspace import Workspace
from codeft_assets.store.ray_executor import connected_ray
from codeft_assets.store.ray_program import Program, reported_lines, start_program
from tests.assets.fake_endpoint import serving
from tests.assets.raylets import NODE, cancel, start, wait_until
from tests.assets.test_endpoint_teacher import GOOD, SYNTAX, Teacher
from tests.assets.test_train_and_score import SMALL, write_corpus

pytest.importorskip("ray", reason="the extra `cluster` is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # several starts of torch in a test
LONG = SMALL | {"max_steps": 90, "save_every_steps": 3, "validate_every_steps": 45, "log_every_steps": 10}


@pytest.fixture(scope="module")
def ray():
    """A head that runs nothing, and two nodes of one CPU, one of them with what Ray counts as a GPU."""
    os.environ["RAY_raylet_start_wait_time_s"] = "180"  # noqa: SIM112  Ray's spelling
    os.environ["OMP_NUM_THREADS"] = "1"  # as Ray sets it for a task of one CPU: sums of floats depend on it
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args=NODE | {"num_cpus": 0, "include_dashboard": False})
    for num_gpus in (0, 1):
        cluster.add_node(**NODE, num_gpus=num_gpus)
    os.environ["RAY_ADDRESS"] = cluster.address
    connected = connected_ray("ray", 1)
    yield connected
    connected.shutdown()
    cluster.shutdown()


def materialize(root, key, executor="local", settings=None, **config):
    job = defs.resolve_implicit_global_asset_job_def().get_subset(asset_selection={dg.AssetKey(key.split("/"))})
    resources = {
        "workspace": Workspace(root=str(root), profile="sample", workers=1, executor=executor, **(settings or {})),
        "pipes": program_client(),
    }
    run_config = {"ops": {key.replace("/", "__"): {"config": config}}} if config else {}
    with dg.DagsterInstance.ephemeral() as instance:
        done = job.execute_in_process(instance=instance, resources=resources, run_config=run_config)
    [event] = done.get_asset_materialization_events()
    return event.materialization


def train(root, executor="local", **settings):
    return materialize(root, "model/checkpoint", executor, settings, recipe="smoke", overrides=LONG)


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def weights(root):
    found = files(root / "files/model/checkpoint/checkpoint")
    del found["README.md"]  # tells how long it took
    return found


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A data root with all that training needs."""
    root = tmp_path_factory.mktemp("prepared")
    write_corpus(Workspace(root=str(root)).store)
    materialize(root, "model/tokenizer", recipe="smoke")
    materialize(root, "corpus/packed", recipe="smoke", overrides=LONG)
    return root


@pytest.fixture(scope="module")
def here(ray, prepared, tmp_path_factory):
    """The root after a training on this machine, and its materialization."""
    root = shutil.copytree(prepared, tmp_path_factory.mktemp("here") / "root")
    return root, train(root)


def test_a_training_on_the_cluster_leaves_the_files_and_the_metadata_of_one_here(prepared, here, tmp_path):
    root = shutil.copytree(prepared, tmp_path / "root")
    there = train(root, "ray")
    assert weights(root) == weights(here[0])
    assert there.tags["dagster/data_version"] == here[1].tags["dagster/data_version"]
    # samples are drawn while there is time for them
    samples = "shortest_"
    without_samples = [{name for name in run.metadata if not name.startswith(samples)} for run in (here[1], there)]
    assert without_samples[0] == without_samples[1]


def program_process(root, module="codeft_training", command="train", node_rank=None):
    """Return the id of the process of our program that works below ``root``, or None."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        is_here = words[1:4] == ["-m", module, command] and any(word.startswith(str(root)) for word in words)
        if is_here and (node_rank is None or words[words.index("--node-rank") + 1] == node_rank):
            return int(folder.name)
    return None


def parent(process):
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.parametrize("victim", ["program", "worker"])
def test_a_killed_training_is_an_error_with_its_name_and_goes_on_from_its_state(prepared, here, tmp_path, victim):
    root = shutil.copytree(prepared, tmp_path / "root")

    def kill():
        wait_until(lambda: list(root.glob("files/model/checkpoint/runs/*/*/state.json")) and program_process(root))
        process = program_process(root)
        os.kill(process if victim == "program" else parent(process), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(ExplainedError, match=r"model/checkpoint of run \w+ (was ended by SIGKILL|lost its process)"):
        train(root, "ray")
    killer.join()
    wait_until(lambda: program_process(root) is None)
    train(root, "ray")
    assert weights(root) == weights(here[0])


def test_a_cancelled_training_ends_on_its_node_and_the_next_run_goes_on_from_its_state(prepared, here, tmp_path):
    root = shutil.copytree(prepared, tmp_path / "root")
    config = json.dumps({"ops": {"model__checkpoint": {"config": {"recipe": "smoke", "overrides": LONG}}}})
    run = start("codeft_assets.definitions", "model/checkpoint", root, config, CODEFT_EXECUTOR="ray")
    wait_until(lambda: list(root.glob("files/model/checkpoint/runs/*/*/state.json")) and program_process(root))
    assert cancel(run, root, signal.SIGINT) == "CANCELED"
    assert program_process(root) is None  # the run has waited for it
    train(root, "ray")
    assert weights(root) == weights(here[0])


def test_a_cancelled_scoring_ends_on_its_nodes_and_the_next_run_gives_the_same_verdicts(here, tmp_path):
    roots = [shutil.copytree(here[0], tmp_path / name) for name in ("one", "two")]
    materialize(roots[0], "scores/embedded", limit=4)
    config = json.dumps({"ops": {"scores__embedded": {"config": {"limit": 4, "parts": 2}}}})
    run = start("codeft_assets.definitions", "scores/embedded", roots[1], config, CODEFT_EXECUTOR="ray")
    wait_until(lambda: program_process(roots[1], "codeft_eval", "run"))
    assert cancel(run, roots[1], signal.SIGINT) == "CANCELED"
    assert program_process(roots[1], "codeft_eval", "run") is None
    materialize(roots[1], "scores/embedded", "ray", limit=4, parts=2)
    assert scored(roots[1]) == scored(roots[0])


def scored(root):
    """Return the files of a score, without the path of its checkpoint and how long it took."""
    folder = root / "files/scores/embedded"
    names = [folder / chat / name for chat in ("", "chat") for name in ("samples.jsonl", "scores.json")]
    return [path.read_text().replace(str(root), "ROOT") for path in names]


def test_two_workers_that_share_the_items_give_the_verdicts_of_one_program(here, tmp_path):
    roots = [shutil.copytree(here[0], tmp_path / name) for name in ("one", "two")]
    one = materialize(roots[0], "scores/embedded", limit=4)
    two = materialize(roots[1], "scores/embedded", "ray", limit=4, parts=2)
    assert scored(roots[1]) == scored(roots[0])
    assert two.tags["dagster/data_version"] == one.tags["dagster/data_version"]
    parts = sorted((roots[1] / "files/parts/scores/embedded").glob("*-of-2/samples.jsonl"))
    assert [len(path.read_text().splitlines()) for path in parts] == [2, 2]
    [store] = (roots[1] / "files/scores/embedded").glob("generations-*.sqlite")
    with AnswerStore(store) as answers:  # the program of the whole asked the model nothing
        assert answers.count("completion") == 4


class ByKey(Teacher):
    """Answers by the request, whoever asks first."""

    def text(self, key, question):
        number = int(key[:6], 16)
        self.statements[key] = number
        self.solved[question.partition("```python\n")[2].removesuffix("```")] = number
        return super().text(key, question)


def test_exercises_that_two_workers_write_and_judge_are_those_of_one_program(ray, tmp_path):
    config = {"model": "m", "count": 8, "solutions": 2}
    with serving(ByKey([GOOD, SYNTAX])) as url:
        materialize(tmp_path / "one", "exercises/taught", teacher=url, **config)
        materialize(tmp_path / "two", "exercises/taught", "ray", teacher=url, parts=2, **config)
    one, two = (tmp_path / name / "files/exercises/taught" for name in ("one", "two"))
    for name in ("generated-000.jsonl.gz", "exercises.jsonl.gz", "rejects.jsonl.gz"):
        assert gzip.decompress((two / name).read_bytes()) == gzip.decompress((one / name).read_bytes())
    for part in (1, 2):
        [found] = (tmp_path / f"two/files/parts/exercises/taught/{part}-of-2").glob("generated-*")
        assert len(gzip.decompress(found.read_bytes()).splitlines()) == 4


SPAN = """
import os, sys, time
begun = time.time()
time.sleep(2)
print(os.environ["CUDA_VISIBLE_DEVICES"], begun, time.time(), file=open(sys.argv[1], "w"))
"""


def test_programs_that_need_the_only_gpu_take_turns(ray, tmp_path):
    def program(name):
        command = ("-c", SPAN, str(tmp_path / name))
        return Program(name=name, command=command, env={}, root=str(tmp_path), num_gpus=None)

    programs = [program(name) for name in ("a", "b")]
    started = [start_program(ray, program) for program in programs]
    assert sorted(reported_lines(ray, started)) == [(0, None), (1, None)]
    (_, begun_a, ended_a), (_, begun_b, ended_b) = spans = [(tmp_path / name).read_text().split() for name in "ab"]
    assert [span[0] for span in spans] == ["0", "0"]
    assert float(ended_a) <= float(begun_b) or float(ended_b) <= float(begun_a)


def test_more_gpus_than_a_node_has_are_refused_at_once(ray, tmp_path):
    program = Program(name="big", command=("-c", ""), env={}, root=str(tmp_path), num_gpus=2)
    with pytest.raises(ValueError, match=r"asks for 2 GPUs of one node, and no node .* more than 1; .*CODEFT_GPUS"):
        start_program(ray, program)


@pytest.fixture(scope="module")
def in_two_processes(ray, prepared, tmp_path_factory):
    """The root after a training in two processes of this machine: the model is the same, sums of floats are not."""
    root = shutil.copytree(prepared, tmp_path_factory.mktemp("two") / "root")
    train(root, gpus=2)
    return root


def test_a_training_on_two_nodes_leaves_the_weights_of_two_processes(prepared, in_two_processes, tmp_path):
    root = shutil.copytree(prepared, tmp_path / "root")
    train(root, "ray", nodes=2)
    assert weights(root) == weights(in_two_processes)


def test_a_node_whose_program_dies_ends_the_others_and_the_next_run_goes_on(prepared, in_two_processes, tmp_path):
    root = shutil.copytree(prepared, tmp_path / "root")

    def kill():
        wait_until(lambda: list(root.glob("files/model/checkpoint/runs/*/*/state.json")) and program_process(root))
        os.kill(program_process(root, node_rank="1"), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(ExplainedError, match=r"model/checkpoint of run \w+, part \d (was ended by|ended with code)"):
        train(root, "ray", nodes=2)
    killer.join()
    wait_until(lambda: program_process(root) is None)
    train(root, "ray", nodes=2)
    assert weights(root) == weights(in_two_processes)


def test_more_nodes_than_the_cluster_has_are_refused_at_once(prepared, tmp_path):
    root = shutil.copytree(prepared, tmp_path / "root")
    with pytest.raises(ValueError, match=r"asks for 3 nodes, and the Ray cluster has 2 with a CPU; .*CODEFT_NODES"):
        train(root, "ray", nodes=3)
    with pytest.raises(ValueError, match=r"asks for 1 GPUs of 2 nodes each, and not so many nodes"):
        train(root, "ray", nodes=2, gpus=1)
