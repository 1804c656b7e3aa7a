"""T5 in fewer passes over memory, and batches by token budget: neither changes what is learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tiny import TEXTS, quiet, scratch, spec
from understudy import batches
from understudy.training import encode, head, lean, machine, train
from understudy.training.collate import Collator
from understudy.types import Example

EXAMPLES = [
    Example(str(n), "Question: " + "1 + 2 ? " * (n % 5 + 1), "1 + 2 = 3 " * (n % 3 + 1)) for n in range(12)
]


def t5() -> Any:
    live: Any = scratch("seq2seq").create(
        [*TEXTS, *(t for e in EXAMPLES for t in (e.source, f" {e.target}"))], 0
    )
    live.model.train()
    return live


def learned(live: Any, own: Any, bf16: bool) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients of one batch, through the head in chunks."""
    inputs = Collator(live)(encode.encode(live, [(e,) for e in EXAMPLES], spec())[0][:8])
    labels, weights = inputs.pop("labels"), inputs.pop("token_weights")
    live.model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        loss = head.loss_of(live.model, inputs, labels, weights, own)
    torch.autograd.backward(loss)
    return loss.item(), {name: p.grad.clone() for name, p in live.model.named_parameters()}


@pytest.mark.parametrize(("bf16", "close"), [(False, 1e-5), (True, 0.05)])
def test_loss_and_gradients_are_those_of_the_model_as_it_comes(bf16: bool, close: float) -> None:
    live = t5()
    live.model.set_attn_implementation("eager")
    own: Any = head.fits(live.model, Collator(live)(encode.encode(live, [(EXAMPLES[0],)], spec())[0][:1]))
    plain, wanted = learned(live, own, bf16)
    live.model.set_attn_implementation(lean.ATTENTION)
    with lean.lean(live.model, own, alone=True):
        assert len([m for m in live.model.modules() if "forward" in vars(m)]) > 10
        ours, found = learned(live, own, bf16)
    assert ours == pytest.approx(plain, rel=close / 10)
    largest = max(float(want.norm()) for want in wanted.values())
    for name, want in wanted.items():
        assert not found[name].is_sparse
        assert float((found[name] - want).norm()) <= close * max(float(want.norm()), 0.01 * largest), name


def test_the_model_is_as_it_was_afterwards() -> None:
    live = t5()
    own = live.model.lm_head
    before = [dict(vars(module)) for module in live.model.modules()]
    with lean.lean(live.model, own, alone=True):
        assert live.model.shared.sparse
    assert [dict(vars(module)) for module in live.model.modules()] == before
    with lean.lean(live.model, own, alone=False):
        assert not live.model.shared.sparse, "several processes have to agree on what is sparse"
    with lean.lean(live.model, None, alone=True):
        assert not live.model.shared.sparse, (
            "without the head's own gradient an optimizer would get a sparse one"
        )


def test_a_module_that_gives_other_numbers_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    live = t5()
    norm = live.model.encoder.final_layer_norm
    plain = type(norm).forward
    monkeypatch.setattr(type(norm), "forward", lambda self, hidden: plain(self, hidden) + 1)
    with lean.lean(live.model, None, alone=True):
        assert not [m for m in live.model.modules() if type(m) is type(norm) and "forward" in vars(m)]


def test_only_t5_has_unscaled_scores() -> None:
    llama: Any = scratch("causal").create(TEXTS, 0)
    live = t5()
    assert (lean.unscaled(live.model), lean.unscaled(llama.model)) == (True, False)
    live.model.set_attn_implementation("sdpa")
    with machine.tuned(live.model, "cpu", 100):
        assert live.model.config._attn_implementation == lean.ATTENTION
    assert live.model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("name", ["causal", "seq2seq"])
def test_token_budget_batches_have_the_losses_of_a_plain_loop(tmp_path: Path, name: str) -> None:
    """The same examples in the same batches, padded as they come, transformers' own loss, AdamW by hand."""
    settings = spec(8, batch_tokens=120, warmup=0)
    groups = [(example,) for example in EXAMPLES]
    result = train(
        scratch(name), groups, settings, learning_rate=3e-3, seed=0, folder=tmp_path, progress=quiet
    )
    trained: Any = scratch(name).load(tmp_path / "model")

    texts = [text for e in EXAMPLES for text in (e.source, f" {e.target}")]
    live: Any = scratch(name).create(texts, 0)
    encoded = encode.encode(live, groups, settings)[0]
    sizes = [encode.size(group, live.kind) for group in encoded]
    plan = batches.plan(sizes, 120, "steps", 8, 0)
    assert len({len(batch) for batch in plan.batches}) > 1
    optimizer = torch.optim.AdamW(_decayed(live.model), lr=3e-3)
    live.model.train()
    losses = []
    for batch in plan.batches:
        inputs = live.collate([row for index in batch for row in encoded[index]])
        labels = inputs.pop("labels")
        logits = live.model(**inputs).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
        losses.append(loss.item())
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(live.model.parameters(), settings.clip)
        optimizer.step()
    assert losses[-1] < losses[0]
    assert result["final_loss"] == pytest.approx(losses[-1], rel=1e-4)
    for (key, found), want in zip(
        trained.model.state_dict().items(), live.model.state_dict().values(), strict=True
    ):
        assert (found - want).abs().max() <= 1e-3 * want.abs().max(), key


def _decayed(model: Any) -> list[dict[str, Any]]:
    """As transformers has it: weight decay for matrices, and not for norms and biases."""
    parameters = dict(model.named_parameters())
    kept = [p for key, p in parameters.items() if "norm" not in key and not key.endswith("bias")]
    others = [p for key, p in parameters.items() if "norm" in key or key.endswith("bias")]
    return [{"params": kept, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
