"""Points the real Hub clients at a local server before anything imports them."""

import atexit
import gc
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest

from tests.hub.server import HubServer

_HUB = HubServer().__enter__()
_CACHE = tempfile.mkdtemp(prefix="codeft-tests-")
atexit.register(shutil.rmtree, _CACHE, ignore_errors=True)
os.environ |= {
    "HF_ENDPOINT": _HUB.url,
    "HF_HOME": f"{_CACHE}/hf",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_ETAG_TIMEOUT": "60",
    "HF_HUB_DOWNLOAD_TIMEOUT": "60",
    "CODEFT_CACHE": f"{_CACHE}/cache",
    "DAGSTER_HOME": "",
    # three test processes and their children share two cores: the threads of one model would only wait for each other
    "OMP_NUM_THREADS": "1",
}
for name in (
    "HF_TOKEN",
    "CODEFT_HOME",
    "CODEFT_PROFILE",
    "CODEFT_BENCHMARKS",
    "CODEFT_OWN_BENCHMARKS",
    "CODEFT_LM_EVAL_TASKS",
    "CODEFT_LM_EVAL_INCLUDE",
    "JINA_API_KEY",
    "CODEFT_WORKERS",
    "CODEFT_EXECUTOR",
    "CODEFT_GPUS",
    "CODEFT_NODES",
    "RAY_ADDRESS",
):
    os.environ.pop(name, None)
del os.environ["DAGSTER_HOME"]
# hundreds of processes import our packages: they are compiled once, whatever the shell says
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# a shell's background job ignores SIGINT, Dagster ignores SIGTERM then, and its processes cannot be ended
signal.signal(signal.SIGINT, signal.default_int_handler)
# each collection of garbage would walk 5,000 tests and all they import, a second at a time
gc.disable()
atexit.register(gc.unfreeze)

TESTS = Path(__file__).parent
LONGEST = (
    *("eval/test_native_hostile.py", "test_end_to_end.py", "assets/test_train_and_score.py", "test_docs.py"),
    *("automation/test_daemon.py", "test_recomputation.py", "docker/test_stack.py", "eval/test_bigcodebench.py"),
    *("eval/test_multipl_e.py", "eval/test_benchmarks.py", "eval/test_own_benchmarks.py", "training/test_signals.py"),
    *("training/test_recipe_effects.py", "eval/test_sandbox_hostile.py", "eval/test_runs.py"),
    *("training/test_repetition.py", "eval/test_languages.py", "eval/test_busy_machine.py", "training/test_train.py"),
)
"""Files of half a minute and more: they begin first, or the last one would run alone."""
assert all((TESTS / name).is_file() for name in LONGEST)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    rank = {TESTS / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


def pytest_collection_finish():
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True, scope="module")
def environment():
    """Restore the environment after each test file: the harness takes its process off the Hub.

    What a file imported stays, and is not walked by the collections of the next.
    """
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
    gc.collect()
    gc.freeze()


@pytest.fixture
def hub(monkeypatch):
    """A local Hub with no repositories, reached also where its clients were imported while a test was offline."""
    for module in ("huggingface_hub.constants", "datasets.config"):
        if module in sys.modules:
            monkeypatch.setattr(sys.modules[module], "HF_HUB_OFFLINE", False)
    _HUB.reset()
    return _HUB


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder for fetched files and pages."""
    monkeypatch.setenv("CODEFT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
