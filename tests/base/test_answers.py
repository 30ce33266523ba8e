"""Answers: on the disk when ``put`` returns, never half a batch, from several processes at a time."""

import multiprocessing
import os
import signal
import sqlite3
from contextlib import closing

import pytest

from codeft_assets.base import answers
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


def _open_and_put(path, name, start):
    start.wait()
    with AnswerStore(path) as store:
        store.put("answer", [(name, "")])


def test_processes_that_make_one_store_at_the_same_time_lose_nothing(tmp_path):
    context = multiprocessing.get_context("fork")
    for number in range(40):
        path, start = tmp_path / f"{number}.sqlite", context.Event()
        processes = [context.Process(target=_open_and_put, args=(path, name, start)) for name in "abcd"]
        for process in processes:
            process.start()
        start.set()
        for process in processes:
            process.join()
        with AnswerStore(path) as store:
            assert sorted(key for key, _ in store.all("answer")) == list("abcd")


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


def test_text_and_bytes_are_different_keys(tmp_path):
    with AnswerStore(tmp_path / "a.sqlite") as store:
        store.put("answer", [("a", "of text"), (b"a", b"of bytes")])
        assert list(store.get("answer", ["a"])) == [("a", "of text")]
        assert list(store.get("answer", [b"a"])) == [(b"a", b"of bytes")]


def _die_within_a_batch(path):
    def batch():
        yield "b", "2"
        os.kill(os.getpid(), signal.SIGKILL)

    with AnswerStore(path) as store:
        store.put("answer", [("a", "1")])
        store.put("answer", batch())


def test_a_batch_that_a_kill_cut_short_is_not_there_and_blocks_nobody(tmp_path):
    process = multiprocessing.get_context("fork").Process(target=_die_within_a_batch, args=(tmp_path / "a.sqlite",))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    with AnswerStore(tmp_path / "a.sqlite") as store:
        assert list(store.all("answer")) == [("a", "1")]
        store.put("answer", [("c", "3")])
        assert store.count("answer") == 2


def test_a_store_that_cannot_be_opened_is_named_and_not_called_damaged(tmp_path):
    (tmp_path / "a.sqlite").mkdir()
    with pytest.raises(OSError, match=r"cannot write .*a\.sqlite: unable to open database file; check that disk"):
        AnswerStore(tmp_path / "a.sqlite").__enter__()
    assert (tmp_path / "a.sqlite").is_dir()


def test_a_store_that_another_holds_is_named_and_not_called_damaged(tmp_path, monkeypatch):
    monkeypatch.setattr(answers, "_WAIT_SECONDS", 0)
    with AnswerStore(tmp_path / "a.sqlite") as store:
        store._open.execute("PRAGMA journal_mode = DELETE")
        store._open.execute("BEGIN EXCLUSIVE")
        with pytest.raises(OSError, match=r"cannot write .*a\.sqlite: database is locked"):
            AnswerStore(tmp_path / "a.sqlite").__enter__()


def test_an_sqlite_file_with_other_tables_is_named(tmp_path):
    with closing(sqlite3.connect(tmp_path / "a.sqlite")) as connection:
        connection.execute("CREATE TABLE answers (other TEXT)")
    with pytest.raises(ValueError, match=r"a\.sqlite is not an answer store: .*; move it away"):
        AnswerStore(tmp_path / "a.sqlite").__enter__()


def test_a_store_absorbs_what_it_lacks_of_another_and_the_same_only_once(tmp_path):
    with AnswerStore(tmp_path / "part.sqlite") as part:
        part.put("answer", [("k", "mine"), ("theirs", "1")])
        part.put("seconds", [("0", "2.5")])
    with AnswerStore(tmp_path / "whole.sqlite") as whole:
        whole.put("answer", [("k", "mine"), ("k", "later")])
        whole.put("seconds", [("0", "1.5")])
        for _ in range(2):
            whole.absorb(tmp_path / "part.sqlite")
        whole.absorb(tmp_path / "absent.sqlite")
        assert list(whole.all("answer")) == [("k", "mine"), ("k", "later"), ("theirs", "1")]
        assert [value for _, value in whole.all("seconds")] == ["1.5", "2.5"]
    (tmp_path / "text.sqlite").write_text("no store " * 100)
    with AnswerStore(tmp_path / "whole.sqlite") as whole, pytest.raises(ValueError, match="is not an answer store"):
        whole.absorb(tmp_path / "text.sqlite")
    assert not (tmp_path / "absent.sqlite").exists()
