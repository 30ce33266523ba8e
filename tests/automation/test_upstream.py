"""The sensor's reports on each source: its version, the reason that it cannot be read, and a heartbeat."""

import json
from collections import Counter
from datetime import timedelta

import dagster as dg
import pytest

from codeft_assets.defs.assets import upstream
from codeft_assets.defs.assets.upstream import HEARTBEAT_SECONDS, PollState, poll
from codeft_assets.defs.workspace import Workspace
from codeft_assets.sources import SOURCES

NOW = 1_800_000_000.0
ROW = '{"instruction": "q", "output": "a"}\n'
FULL = Workspace(profile="full")


class Log:
    def __init__(self):
        self.said = []

    def warning(self, text):
        self.said.append(text)


@pytest.fixture
def two(monkeypatch):
    monkeypatch.setattr(upstream, "SOURCES", {name: SOURCES[name] for name in ("o1-journey", "open-tora")})


def kinds(events, name):
    """Return what was said of one source: its kind, or for a check whether it passed."""
    mine = [event for event in events if event.asset_key == dg.AssetKey(["upstream", name])]
    return Counter(getattr(event, "passed", type(event).__name__) for event in mine)


def test_an_unreachable_source_does_not_hold_up_the_others_and_a_check_says_why(hub, two):
    hub.commit("SciPhi/open-tora", {"train.jsonl": ROW})  # o1-journey is missing
    log = Log()
    events, seen = poll(FULL, PollState(), NOW, log)
    assert kinds(events, "open-tora") == {"AssetObservation": 1, "AssetMaterialization": 1, True: 1}
    assert kinds(events, "o1-journey") == {False: 1}
    [failed] = [event for event in events if event.asset_key.path[-1] == "o1-journey"]
    assert "GAIR/o1-journey" in failed.description
    assert "fix repo_id in sources.py" in failed.metadata["why"].value
    assert "o1-journey was not observed" in log.said[0]
    again, seen = poll(FULL, seen, NOW + 60, log)
    assert again == []  # said once, not every hour
    hub.commit("GAIR/o1-journey", {"train.jsonl": ROW})
    events, _ = poll(FULL, seen, NOW + 120, log)
    assert kinds(events, "o1-journey") == {"AssetObservation": 1, "AssetMaterialization": 1, True: 1}


def test_a_gated_source_says_what_to_accept(hub, two):
    hub.commit("SciPhi/open-tora", {"train.jsonl": ROW})
    hub.commit("GAIR/o1-journey", {"train.jsonl": ROW})
    hub.fail("^/api/datasets/GAIR/o1-journey", status=403, times=9)
    events, _ = poll(FULL, PollState(), NOW, Log())
    [failed] = [event for event in events if getattr(event, "passed", True) is False]
    assert "accept the terms at" in failed.description
    assert kinds(events, "open-tora")["AssetObservation"] == 1


def test_a_source_that_does_not_answer_in_time_is_left_behind(two, monkeypatch):
    import threading

    release = threading.Event()

    class Slow:
        def resolve(self):
            release.wait()

    class Quick:
        def resolve(self):
            return upstream.Upstream(revision="1", files=())

    origins = {"o1-journey": Slow(), "open-tora": Quick()}
    monkeypatch.setattr(Workspace, "origin", lambda self, source: origins[source.name])
    events, seen = poll(FULL, PollState(), NOW, Log(), deadline_seconds=10)
    release.set()
    assert kinds(events, "open-tora")["AssetObservation"] == 1
    assert "no answer within" in seen.errors["o1-journey"]


def test_a_source_is_said_to_be_what_it_was_once_a_day(hub, two):
    for repo in ("SciPhi/open-tora", "GAIR/o1-journey"):
        hub.commit(repo, {"train.jsonl": ROW})
    _, seen = poll(FULL, PollState(), NOW, Log())
    before, _ = poll(FULL, seen, NOW + HEARTBEAT_SECONDS - 1, Log())
    assert before == []
    after, _ = poll(FULL, seen, NOW + HEARTBEAT_SECONDS, Log())
    assert kinds(after, "open-tora") == {"AssetMaterialization": 1}
    set_back, _ = poll(FULL, seen, NOW - 10 * HEARTBEAT_SECONDS, Log())  # a clock that was a week ahead
    assert kinds(set_back, "open-tora") == {"AssetMaterialization": 1}


@pytest.mark.parametrize("cursor", [None, "", "{}", "not json", '{"o1-journey": "abc"}', "[1]"])
def test_an_unreadable_cursor_is_an_empty_one(cursor):
    assert PollState.from_cursor(cursor) == PollState()


def test_what_was_seen_survives_the_cursor():
    from dataclasses import asdict

    seen = PollState(fingerprints={"a": "1"}, errors={"b": "down"}, reported_at={"a": 1.5})
    assert PollState.from_cursor(json.dumps(asdict(seen))) == seen


def test_every_upstream_has_a_freshness_policy_and_is_stale_after_three_days():
    from codeft_assets.definitions import defs

    for name in SOURCES:
        policy = defs.resolve_asset_graph().get(dg.AssetKey(["upstream", name])).freshness_policy
        assert policy.fail_window.to_timedelta() == timedelta(days=3)
        assert policy.warn_window.to_timedelta() > timedelta(seconds=HEARTBEAT_SECONDS)
