"""One process of a training whose weights are shared, on processors: `python shared_processors.py JOB`.

accelerate shares weights between GPUs alone. Here it is told that processors are such, so that everything of
ours around it runs: batches, losses, checkpoints, going on, and what is saved.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from accelerate.state import AcceleratorState, DistributedType, PartialState


def permit() -> None:
    state, accelerator = PartialState.__init__, AcceleratorState.__init__

    def on_processors(self: Any, cpu: bool = False, **named: Any) -> None:
        del cpu
        named.pop("timeout", None)
        state(self, cpu=True, **named)

    def shared(
        self: Any, *given: Any, fsdp_plugin: Any = None, deepspeed_plugin: Any = None, **named: Any
    ) -> None:
        accelerator(self, *given, fsdp_plugin=fsdp_plugin, deepspeed_plugin=deepspeed_plugin, **named)
        if fsdp_plugin is not None:
            self.distributed_type = DistributedType.FSDP
            if self._mixed_precision != "no":
                fsdp_plugin.set_mixed_precision(self._mixed_precision)
            self.fsdp_plugin = fsdp_plugin
        if deepspeed_plugin is not None:
            self.distributed_type = DistributedType.DEEPSPEED
            deepspeed_plugin.set_mixed_precision(self._mixed_precision)
            deepspeed_plugin.select(_from_accelerator_state=True)
            self.deepspeed_plugins = deepspeed_plugin
            self._mixed_precision = "no"
        PartialState._shared_state["distributed_type"] = self.distributed_type

    PartialState.__init__ = on_processors
    AcceleratorState.__init__ = shared
    if find_spec("deepspeed") is not None:
        import deepspeed.comm.torch  # type: ignore[import-not-found]  # noqa: F401

        # It would compile one, for minutes; without it, it takes gloo.
        sys.modules["deepspeed.comm.torch"].build_shm_op = lambda: None  # type: ignore[attr-defined]


if __name__ == "__main__":
    permit()
    from understudy.training import distributed

    distributed.main(Path(sys.argv[1]))
