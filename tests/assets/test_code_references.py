"""From an asset's page to the code that makes it."""

from pathlib import Path

import pytest

from codeft_assets.definitions import defs
from codeft_assets.defs.web_ui.code_references import ROOT, web_address

GRAPH = defs.resolve_asset_graph()


@pytest.mark.parametrize("key", sorted(GRAPH.materializable_asset_keys), ids=lambda key: key.to_user_string())
def test_every_asset_names_the_file_and_line_that_makes_it(key):
    (reference,) = GRAPH.get(key).metadata["dagster/code_references"].code_references
    place = getattr(reference, "file_path", None) or reference.url
    assert "codeft_assets/defs/" in place
    assert Path(place).exists() or place.startswith("https://")


@pytest.mark.parametrize(
    ("remote", "page"),
    [
        ("https://github.com/me/codeft.git", "https://github.com/me/codeft"),
        ("git@github.com:me/codeft.git", "https://github.com/me/codeft"),
        ("ssh://git@gitlab.com/group/sub/codeft", "https://gitlab.com/group/sub/codeft"),
        ("https://user:secret-token@github.com/me/codeft.git", "https://github.com/me/codeft"),
        ("/srv/git/codeft.git", ""),
        ("", ""),
    ],
)
def test_a_remote_becomes_a_page_without_its_token(remote, page):
    assert web_address(remote) == page


def test_the_root_is_the_checkout():
    assert (ROOT / "pyproject.toml").exists()
