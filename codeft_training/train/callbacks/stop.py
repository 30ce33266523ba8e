"""Stop requests: on SIGTERM the step is finished, its state saved, and the run ends."""

from __future__ import annotations

from codeft_training.model.distributed import DistributedContext
from codeft_training.train.callbacks.callback import Callback, Engine
from codeft_training.train.signals import StopRequest


class StopCallback(Callback):
    """Saves and stops all processes when one of them was requested to stop."""

    def __init__(self, request: StopRequest, context: DistributedContext) -> None:
        self._request, self._context = request, context

    def on_step_end(self, engine: Engine) -> None:
        if self._context.any(self._request.is_set):
            engine.save()
            engine.stop()
