"""What a training takes of memory, before there are weights: a step walked through on tensors without data.

The model is made of its config, and one batch goes through it forward and backward in fake tensors, which
have shapes and no contents. What is alive at the fullest moment is counted by what it is for; the optimizer's
state is added. So attention, checkpointing, adapters and number formats are counted as they are. The
catch: what a kernel needs within itself, the allocator's fragments, the CUDA context and what learners hold
beside the student are not in it. `tests/test_training_memory.py` holds it against what a real training on a
CPU allocates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from understudy.training import adapters, four_bits, head
from understudy.training.arguments import device_of, use_bf16
from understudy.training.counting import Living
from understudy.training.lean import lean
from understudy.training.machine import tuned
from understudy.training.optimizers import split

if TYPE_CHECKING:
    from understudy.roles import TrainSpec


@dataclass(frozen=True, slots=True)
class Batch:
    """What goes through the model at once: rows, and the tokens of each one's source and target."""

    rows: int
    source: int
    target: int


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes at the fullest moment of a step."""

    weights: int
    gradients: int
    """Those that are there at that moment: in the backward pass activations go as gradients come."""
    optimizer: int
    activations: int
    logits: int
    """Everything as wide as the vocabulary."""
    parameters: int = 0
    trained: int = 0
    """Of the parameters; adapters are counted in both."""

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimizer + self.activations + self.logits


def largest(spec: TrainSpec) -> Batch:
    """The fullest batch that the limits of a training allow: rows as long as examples may be."""
    source, target = spec.max_source_tokens, spec.max_target_tokens
    if spec.packing and spec.pack_tokens:
        share = source / (source + target)
        source, target = round(spec.pack_tokens * share), round(spec.pack_tokens * (1 - share))
    tokens = min(spec.batch_tokens, spec.micro_batch_tokens or spec.batch_tokens)
    return Batch(max(1, tokens // (source + target)), source, target)


def estimate(make: Callable[[], Any], kind: str, spec: TrainSpec, batch: Batch) -> Memory:
    """Of one step of `batch` through the model that `make` returns, of the architecture `kind`.

    `make` is called where tensors have no contents, so it must make its weights and load none.
    """
    with torch.device("meta"):
        model: Any = make().train()
        saved = _saved(model, _planned(spec)) if spec.lora is not None and spec.lora.bits else 0
        if spec.lora is not None:
            model = adapters.adapted(model, spec.lora, 0)
    with FakeTensorMode():
        _fake(model)
        if spec.gradient_checkpointing:
            model.activation_checkpointing_enable({"use_reentrant": False})
        living = Living(int(model.config.vocab_size))
        inputs = {name: living.made(tensor, "activations") for name, tensor in _inputs(kind, batch).items()}
        with living, _as_trained(model, spec, batch):
            for parameter in model.parameters():
                living.note(parameter, "weights")
                if parameter.requires_grad:
                    parameter.register_post_accumulate_grad_hook(lambda p: living.note(p.grad, "gradients"))
            with torch.autocast("cpu", torch.bfloat16) if use_bf16(spec.precision) else nullcontext():
                loss = _loss(model, kind, inputs, batch)
            loss.backward()  # type: ignore[no-untyped-call]
        trained = [p for p in model.parameters() if p.requires_grad]
        return Memory(
            weights=living.at_peak["weights"] - saved,
            gradients=living.at_peak.get("gradients", 0),
            optimizer=_state(model, spec),
            activations=living.at_peak.get("activations", 0),
            logits=living.at_peak.get("logits", 0),
            parameters=sum(p.numel() for p in model.parameters()),
            trained=sum(p.numel() for p in trained),
        )


@contextmanager
def _as_trained(model: Any, spec: TrainSpec, batch: Batch) -> Iterator[None]:
    """What `trainer` changes in a model to compute faster on CPUs holds less, too."""
    if _planned(spec) != "cpu":
        yield
        return
    with tuned(model, "cpu", max(batch.source, batch.target)), lean(model, head.head_of(model), alone=True):
        yield


def _planned(spec: TrainSpec) -> str:
    """The device to train on. One that is asked for need not be here, where the plan is made."""
    return device_of("auto") if spec.device == "auto" else spec.device


def _fake(model: Any) -> None:
    """Weights of the meta device become fake ones of the CPU, where autocast works; what is tied stays so."""
    made: dict[int, torch.Tensor] = {}
    for module in model.modules():
        for table in (module._parameters, module._buffers):
            for name, tensor in table.items():
                if tensor is None:
                    continue
                if id(tensor) not in made:
                    empty = torch.empty(tensor.shape, dtype=tensor.dtype)
                    learns = tensor.requires_grad
                    is_weight = isinstance(tensor, torch.nn.Parameter)
                    made[id(tensor)] = torch.nn.Parameter(empty, learns) if is_weight else empty
                table[name] = made[id(tensor)]


def _inputs(kind: str, batch: Batch) -> dict[str, torch.Tensor]:
    def ids(length: int) -> torch.Tensor:
        return torch.zeros(batch.rows, length, dtype=torch.long)

    if kind == "causal":
        return {"input_ids": ids(batch.source + batch.target - 1)}
    return {
        "input_ids": ids(batch.source),
        "attention_mask": torch.ones(batch.rows, batch.source, dtype=torch.long),
        "decoder_input_ids": ids(batch.target),
    }


def _loss(model: Any, kind: str, inputs: Mapping[str, torch.Tensor], batch: Batch) -> torch.Tensor:
    """As `trainer` computes it, for rows of which every target token bears loss."""
    places = torch.arange(batch.rows * batch.target)
    labels, weights = torch.zeros_like(places), torch.ones(len(places))

    def of_targets(states: torch.Tensor) -> torch.Tensor:
        # A decoder's sources are read and bear no loss. Chosen by places: a mask's count is in its contents.
        chosen = states[:, batch.source - 1 :] if kind == "causal" else states
        return chosen.reshape(-1, states.shape[-1])[places]

    output = head.head_of(model)
    if output is None:
        chosen = of_targets(model(**inputs, use_cache=False).logits).float()
        losses = torch.nn.functional.cross_entropy(chosen, labels, reduction="none")
        return (losses * weights).sum()

    def forward(hidden: torch.Tensor) -> torch.Tensor:
        return head.cross_entropy(of_targets(hidden), output.weight, labels, weights)

    with head._Instead(output, forward):
        loss: torch.Tensor = model(**inputs, use_cache=False).logits
    return loss


def _state(model: Any, spec: TrainSpec) -> int:
    """Bytes of the optimizer's state: AdamW keeps two numbers for each trained one, Muon one for matrices."""
    trained: int = sum(p.numel() for p in model.parameters() if p.requires_grad)
    if spec.optimizer == "muon":
        matrices: int = sum(p.numel() for p in split(model)[0])
        return 4 * (2 * trained - matrices)
    return four_bits.state_bytes(model) if spec.optimizer == "adamw_8bit" else 8 * trained


def _saved(model: Any, device: str) -> int:
    """Bytes that 4-bit layers save of their weights; on CPUs, where the weights as they were stay beside
    them, less than nothing."""
    weights = [layer.weight.numel() for layer in four_bits.layers(model).values()]
    small = sum(map(four_bits.weight_bytes, weights))
    return -small if device == "cpu" else 4 * sum(weights) - small
