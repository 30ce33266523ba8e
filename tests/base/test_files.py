"""Files: complete or untouched, with errors that name the place and the remedy."""

import errno
import os
from pathlib import Path

import pytest

from codeft_assets.base.files import (
    explain_write_errors,
    file_hash,
    folder_hash,
    is_being_written,
    replacing_file,
    replacing_folder,
    temporary_path,
    write_atomically,
)


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path):
    write_atomically(tmp_path / "deep" / "a", "old")
    write_atomically(tmp_path / "deep" / "a", b"new")
    assert {path.name: path.read_text() for path in (tmp_path / "deep").iterdir()} == {"a": "new"}


@pytest.mark.parametrize(
    "failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), ValueError("x")]
)
def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, failure):
    write_atomically(tmp_path / "a", "old")
    with pytest.raises((type(failure), OSError)), replacing_file(tmp_path / "a") as temporary:
        temporary.write_text("half")
        raise failure
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "old"}


def test_a_full_disk_is_named_with_its_remedy(tmp_path):
    with pytest.raises(OSError, match=r"cannot write .*/a: No space left on device; .* free space") as found:
        with replacing_file(tmp_path / "a"):
            raise OSError(errno.ENOSPC, "No space left on device")
    assert found.value.errno == errno.ENOSPC


def test_a_library_that_raises_its_own_error_is_explained_only_where_it_is_named(tmp_path):
    with pytest.raises(OSError, match="free space"), explain_write_errors(tmp_path / "a", also=(RuntimeError,)):
        raise RuntimeError("write failed: No space left on device")
    with pytest.raises(RuntimeError), explain_write_errors(tmp_path / "a"):
        raise RuntimeError("not about writing")


def test_a_failed_append_keeps_the_file_and_a_failed_first_write_leaves_none(tmp_path):
    (tmp_path / "a").write_text("old")
    for name in ("a", "b"):
        with pytest.raises(OSError, match="free space"), explain_write_errors(tmp_path / name):
            with (tmp_path / name).open("a") as file:
                file.write("half")
            raise OSError(errno.ENOSPC, "No space left on device")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "oldhalf"}


def test_a_folder_is_replaced_whole(tmp_path):
    for text in ("old", "new"):
        with replacing_folder(tmp_path / "folder") as temporary:
            (temporary / text).write_text(text)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["new"]


def test_what_a_killed_process_left_of_a_folder_is_removed_by_its_next_writer(tmp_path):
    dead, alive, other = (tmp_path / f".tmp-{name}" for name in ("99999999-folder", "1-folder", "99999999-old-folder"))
    for leftover in (dead, alive, other):
        leftover.mkdir()
    with replacing_folder(tmp_path / "folder"):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"folder", alive.name, other.name}


def test_a_failed_folder_leaves_the_old_one(tmp_path):
    with replacing_folder(tmp_path / "folder") as temporary:
        (temporary / "old").write_text("old")
    with pytest.raises(ValueError, match="stopped"), replacing_folder(tmp_path / "folder") as temporary:
        (temporary / "new").write_text("new")
        raise ValueError("stopped")
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_only_a_living_process_is_writing(tmp_path):
    assert is_being_written(temporary_path(tmp_path / "a").name)
    assert not is_being_written(f".tmp-{2**22 + 1}-a")  # above the kernel's highest process number
    assert not is_being_written(f"{os.getpid()}-a")


def test_a_folders_hash_is_of_names_and_contents(tmp_path):
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")
    before = folder_hash(tmp_path, ["a", "b"])
    assert before == folder_hash(tmp_path, ["b", "a"])
    assert file_hash(tmp_path / "a") == "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
    (tmp_path / "a").write_text("2")
    (tmp_path / "b").write_text("1")
    assert before != folder_hash(tmp_path, ["a", "b"])


def entries(folder):
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["folder", "two words", "ü[1]*", "x]", "old-y"])
def test_leftovers_of_a_killed_process_are_removed_whatever_the_name(tmp_path, name):
    for leftover in (f".tmp-99999999-{name}", f".tmp-99999999.old-{name}", f".tmp-{os.getpid()}.old-{name}"):
        (tmp_path / leftover).mkdir()
        (tmp_path / leftover / "a").touch()
    for _ in range(2):
        with replacing_folder(tmp_path / name) as temporary:
            (temporary / "new").touch()
        assert entries(tmp_path) == {name}
        assert entries(tmp_path / name) == {"new"}


def test_a_folder_that_was_moved_aside_and_never_replaced_returns(tmp_path):
    (tmp_path / ".tmp-99999999.old-folder").mkdir()
    (tmp_path / ".tmp-99999999.old-folder" / "old").touch()
    with pytest.raises(ValueError, match="stopped"), replacing_folder(tmp_path / "folder"):
        raise ValueError("stopped")
    assert entries(tmp_path) == {"folder"}
    assert entries(tmp_path / "folder") == {"old"}


def test_a_failure_between_the_two_renames_costs_nothing(tmp_path, monkeypatch):
    rename = Path.rename

    def interrupted(self, target):
        if Path(target).name == "folder" and (self / "new").exists():
            raise KeyboardInterrupt
        return rename(self, target)

    with replacing_folder(tmp_path / "folder") as temporary:
        (temporary / "old").touch()
    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), replacing_folder(tmp_path / "folder") as temporary:
        (temporary / "new").touch()
    assert entries(tmp_path) == {"folder"}
    assert entries(tmp_path / "folder") == {"old"}


def make_file(path):
    path.write_text("a file")


def make_link(path):
    (path.parent / "elsewhere").mkdir()
    (path.parent / "elsewhere" / "kept").touch()
    path.symlink_to("elsewhere")


def make_dangling_link(path):
    path.symlink_to("nowhere")


@pytest.mark.parametrize("make", [make_file, make_link, make_dangling_link])
def test_a_file_or_link_in_the_place_of_the_folder_is_replaced_and_what_it_points_to_stays(tmp_path, make):
    make(tmp_path / "folder")
    with replacing_folder(tmp_path / "folder") as temporary:
        (temporary / "new").touch()
    assert entries(tmp_path) - {"elsewhere"} == {"folder"}
    assert entries(tmp_path / "folder") == {"new"}
    assert not (tmp_path / "elsewhere").exists() or entries(tmp_path / "elsewhere") == {"kept"}


def test_an_error_without_words_is_named_by_its_type(tmp_path):
    with (
        pytest.raises(OSError, match=r"cannot write .*/a: OSError; check that disk"),
        explain_write_errors(tmp_path / "a"),
    ):
        raise OSError
