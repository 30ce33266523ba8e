"""Answers: on the disk when ``put`` returns, never half a batch, from several processes at a time."""

import multiprocessing
import os
import signal

import pytest

from codeft_assets.base.answers import AnswerStore


def test_answers_come_back_as_they_were_put_oldest_first(tmp_path):
    with AnswerStore(tmp_path / "a.sqlite") as store:
        store.put("answer", [("k", "first"), (b"\x00", b"\xff")])
        store.put("answer", [("k", "second")])
        store.put("refusal", [("k", "no")])
    with AnswerStore(tmp_path / "a.sqlite") as store:
        assert list(store.get("answer", ["k", "absent"])) == [("k", "first"), ("k", "second")]
        assert list(store.all("answer")) == [("k", "first"), (b"\x00", b"\xff"), ("k", "second")]
        assert (store.count("answer"), store.count("refusal"), store.count("other")) == (3, 1, 0)


def test_more_keys_than_a_query_takes(tmp_path):
    keys = [f"{number}" for number in range(1201)]
    with AnswerStore(tmp_path / "a.sqlite") as store:
        store.put("answer", [(key, key) for key in keys])
        assert sorted(store.get("answer", keys)) == sorted((key, key) for key in keys)


def test_a_batch_that_fails_midway_is_not_there(tmp_path):
    def broken():
        yield "a", "1"
        raise ValueError("the model stopped")

    with AnswerStore(tmp_path / "a.sqlite") as store:
        with pytest.raises(ValueError, match="the model stopped"):
            store.put("answer", broken())
        assert store.count("answer") == 0
        store.put("answer", [("a", "2")])
        assert store.count("answer") == 1


def _put_and_die(path):
    with AnswerStore(path) as store:
        store.put("answer", [("a", "1")])
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_keeps_what_it_put(tmp_path):
    process = multiprocessing.get_context("fork").Process(target=_put_and_die, args=(tmp_path / "a.sqlite",))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    with AnswerStore(tmp_path / "a.sqlite") as store:
        assert list(store.all("answer")) == [("a", "1")]


def _put_many(path, name):
    with AnswerStore(path) as store:
        for number in range(50):
            store.put("answer", [(f"{name} {number}", "")])


def test_two_processes_write_one_store(tmp_path):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_put_many, args=(tmp_path / "a.sqlite", name)) for name in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    with AnswerStore(tmp_path / "a.sqlite") as store:
        assert store.count("answer") == 100


def test_a_file_of_another_kind_is_named(tmp_path):
    (tmp_path / "a.sqlite").write_text("{} is JSON, not SQLite, and longer than a header of sixteen bytes")
    with pytest.raises(ValueError, match=r"a\.sqlite is not an answer store: .*; move it away"):
        AnswerStore(tmp_path / "a.sqlite").__enter__()


def test_a_full_disk_is_named_with_its_remedy_and_costs_no_answer(tmp_path):
    with AnswerStore(tmp_path / "a.sqlite") as store:
        store.put("answer", [("a", "1")])
        pages = store._open.execute("PRAGMA page_count").fetchone()[0]
        store._open.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(OSError, match=r"cannot write .*a\.sqlite: database or disk is full; .* free space"):
            store.put("answer", [("b", "x" * 100_000)])
        assert list(store.all("answer")) == [("a", "1")]
