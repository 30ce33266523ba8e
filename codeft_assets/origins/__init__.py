"""Origins: the places that the rows of a source are read from."""

from codeft_assets.origins.composed_exercises import ComposedExercisesOrigin
from codeft_assets.origins.files import FileOrigin
from codeft_assets.origins.http_file import HttpFileOrigin
from codeft_assets.origins.hub import HubOrigin
from codeft_assets.origins.jina_reader import JinaReaderOrigin
from codeft_assets.origins.local_code import LocalCodeOrigin
from codeft_assets.origins.origin import Origin, Upstream, UpstreamFile
from codeft_assets.origins.sample import SampleOrigin

__all__ = [
    "ComposedExercisesOrigin",
    "FileOrigin",
    "HttpFileOrigin",
    "HubOrigin",
    "JinaReaderOrigin",
    "LocalCodeOrigin",
    "Origin",
    "SampleOrigin",
    "Upstream",
    "UpstreamFile",
]
