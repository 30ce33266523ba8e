"""``dagster asset materialize`` that refuses a selection of nothing: Dagster 1.13 takes it for all assets."""

from __future__ import annotations

import sys

from codeft_assets.command.typed import DEFINITIONS, typed_asset_list


def main(selection: str, config_json: str) -> None:
    """Materialize ``selection``, with commas as Dagster's command takes it.

    Raises:
        SystemExit: it holds no asset.
    """
    import dagster as dg
    from dagster._cli import cli

    from codeft_assets.definitions import defs

    graph = defs.resolve_asset_graph()
    if not dg.AssetSelection.from_coercible(selection.split(",")).resolve(graph):
        groups = ", ".join(sorted({graph.get(key).group_name for key in graph.get_all_asset_keys()}))
        sys.exit(f"no asset is in {selection!r}; groups are {groups}; this lists all assets: {typed_asset_list()}")
    cli(["asset", "materialize", "-m", DEFINITIONS, "--select", selection, "--config-json", config_json])


if __name__ == "__main__":
    main(*sys.argv[1:])
