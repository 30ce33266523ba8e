"""Prints what an image installs, and the extras named after it, from pyproject.toml: each dependency has one place."""

import sys
import tomllib
from pathlib import Path

SERVER = ("dagster", "dagster-webserver")
PROJECT = tomllib.loads(Path("pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def _named(requirements: list[str], names: tuple[str, ...]) -> list[str]:
    return [line for line in requirements if line.split(">")[0] in names]


IMAGES = {
    "server": _named(PROJECT["dependencies"], SERVER) + EXTRAS["postgres"],
    "data": PROJECT["dependencies"] + EXTRAS["postgres"],
    "torch": _named(EXTRAS["train"], ("torch",)),
    "train": EXTRAS["train"] + EXTRAS["eval"],
    "eval": EXTRAS["eval"],
}

image, *extras = sys.argv[1:]
sys.stdout.write("\n".join([*IMAGES[image], *(line for extra in extras for line in EXTRAS[extra])]) + "\n")
