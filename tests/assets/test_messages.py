"""Messages of a program arrive whole, however they are written."""

import sys

import dagster as dg

from codeft_assets.base.report import whole_lines
from codeft_assets.defs.messages import program_client

PROGRAM = """
from dagster_pipes import open_dagster_pipes
with open_dagster_pipes() as pipes:
    for number in range(200):
        pipes.log.info(f"{number}" + "x" * 20_000)
    pipes.report_asset_materialization(metadata={"text": "y" * 200_000, "answer": 42})
"""


def test_a_line_that_is_written_in_pieces_is_one_line(tmp_path):
    path, pieces = tmp_path / "messages", iter([b'{"a": ', b'1}\n{"b"', b": 2}", b"\n"])
    path.touch()

    def write_more():
        piece = next(pieces, b"")
        with path.open("ab") as file:
            file.write(piece)
        return not piece

    assert list(whole_lines(path, write_more)) == [b'{"a": 1}', b'{"b": 2}']


def test_long_messages_of_a_program_are_all_there():
    @dg.asset
    def talks(context, pipes: dg.PipesSubprocessClient):
        return pipes.run(command=[sys.executable, "-c", PROGRAM], context=context).get_materialize_result()

    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize([talks], resources={"pipes": program_client()}, instance=instance)
        messages = [entry.message for entry in instance.all_logs(done.run_id)]
    [event] = done.get_asset_materialization_events()
    assert event.materialization.metadata["answer"].value == 42
    assert sum("x" * 20_000 in message for message in messages) == 200
