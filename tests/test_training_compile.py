"""Compiled layers and Liger's kernels: the same losses and files, and a sentence where they cannot be had."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tiny import TEXTS, quiet, scratch, spec
from understudy.errors import TrainingError
from understudy.roles import Lora, TrainSpec
from understudy.training import compiled, liger, train
from understudy.training.journal import Journal
from understudy.training.watching import Watch
from understudy.types import Example

UNEVEN = [
    (Example(str(many), "Question: " + "1 + 2 + " * many + "5 + 6? Answer:", "The answer is " + "3 " * many),)
    for many in range(1, 7)
]
"""No two of them are of one length, so a batch of each its own shape."""
MOST = {"causal": 2, "seq2seq": 8}
"""Graphs of one row and of many; a T5's layers also differ by side and by who has the position biases."""
SIX = spec(6, batch_tokens=60, checkpoints=0)


pytestmark = [
    # torch warns itself while it traces, and hides that in ways of its own.
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor"),
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*:FutureWarning"),
]


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> list[list[float]]:
    """Of every step of the trainings that end from now on."""
    found: list[list[float]] = []
    final = Journal.final_loss

    def noted(self: Journal, steps: int) -> float:
        found.append(list(self.losses))
        return final(self, steps)

    monkeypatch.setattr(Journal, "final_loss", noted)
    return found


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What is traced, without the minutes that a C++ compiler takes: graphs are run as they were traced."""
    found: list[Any] = []

    def traced(graph: Any, _: Any) -> Any:
        found.append(graph)
        return graph.forward

    real: Any = torch.compile
    monkeypatch.setattr(torch, "compile", lambda what, **more: real(what, **{**more, "backend": traced}))
    torch.compiler.reset()
    yield found
    torch.compiler.reset()


def go(folder: Path, settings: TrainSpec, name: str, **more: Any) -> dict[str, torch.Tensor]:
    """The weights that a training ends with."""
    given: dict[str, Any] = {"learning_rate": 3e-3, "seed": 0, "progress": quiet, **more}
    train(scratch(name), UNEVEN, settings, folder=folder, **given)
    found: dict[str, torch.Tensor] = load_file(folder / "model" / "model.safetensors")
    return found


# ---------------------------------------------------------------- compiled layers

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "causal": ("causal", {}),
    "seq2seq": ("seq2seq", {}),
    "causal packed": ("causal", {"packing": True, "pack_tokens": 60}),
    "seq2seq packed": ("seq2seq", {"packing": True, "pack_tokens": 60}),
    "adapters": ("causal", {"lora": Lora(rank=2)}),
    "checkpointing": ("seq2seq", {"gradient_checkpointing": True}),
}


@pytest.mark.parametrize(
    "case", [name if name == "causal" else pytest.param(name, marks=pytest.mark.slow) for name in CASES]
)
def test_compiled_layers_have_the_losses_of_the_others(
    tmp_path: Path, losses: list[list[float]], graphs: list[Any], case: str
) -> None:
    name, more = CASES[case]
    plain = SIX.model_copy(update=more)
    wanted = go(tmp_path / "plain", plain, name)
    assert not graphs
    found = go(tmp_path / "compiled", plain.model_copy(update={"compile": True}), name)
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)
    assert len(set(losses[0])) == 6, "the toy must tell the steps apart"
    # Behind frozen embeddings the first layer has no gradient to hand on: a graph of its own.
    most = MOST[name] * (2 if "lora" in more else 1)
    assert 0 < len(graphs) <= most, "six shapes and two layers a side are few graphs"
    assert found.keys() == wanted.keys()
    for key, tensor in wanted.items():
        assert torch.allclose(found[key], tensor, atol=1e-3), key
    scratch(name).load(tmp_path / "compiled" / "model").close()


@pytest.mark.slow
@pytest.mark.parametrize("name", MOST)
def test_what_the_compiler_makes_has_the_same_losses(
    tmp_path: Path, losses: list[list[float]], name: str
) -> None:
    wanted = go(tmp_path / "plain", SIX, name)
    torch.compiler.reset()
    found = go(tmp_path / "compiled", SIX.model_copy(update={"compile": True}), name)
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)
    assert found.keys() == wanted.keys()


@pytest.mark.slow
def test_a_compiled_training_goes_on_from_its_checkpoint(
    tmp_path: Path, losses: list[list[float]], graphs: list[Any]
) -> None:
    settings = spec(8, batch_tokens=60, checkpoints=3, compile=True)
    whole = go(tmp_path / "whole", settings, "causal")

    def killed(fraction: float, detail: str) -> None:
        if "step 5" in detail:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        told = Watch.on_step_end

        def always(self: Watch, *given: Any, **named: Any) -> None:
            self.told = -1.0
            told(self, *given, **named)

        patched.setattr(Watch, "on_step_end", always)
        with pytest.raises(KeyboardInterrupt):
            go(tmp_path / "cut", settings, "causal", progress=killed)
    kept = sorted((tmp_path / "cut" / "checkpoints").glob("checkpoint-*"))
    assert kept
    assert not any("_orig_mod" in key for key in load_file(kept[-1] / "model.safetensors"))
    cut = go(tmp_path / "cut", settings, "causal")
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)
    assert all(torch.allclose(cut[key], tensor, atol=1e-4) for key, tensor in whole.items())


def test_only_training_passes_are_compiled(graphs: list[Any]) -> None:
    live: Any = scratch("causal").create(TEXTS, 0)
    inputs = live.collate(live.encode([UNEVEN[0][0]]))
    inputs.pop("labels")
    with compiled.compiled(live.model):
        live.model.eval()
        live.model(**inputs)
        live.model.train()
        with torch.no_grad():
            live.model(**inputs)
        assert not graphs
        live.model(**inputs)
        assert graphs
        many = len(graphs)
    live.model(**inputs)
    assert len(graphs) == many
    assert all(module._compiled_call_impl is None for module in live.model.modules())


def test_the_layers_that_a_model_repeats() -> None:
    live: Any = scratch("seq2seq").create(TEXTS, 0)
    assert list(compiled.repeated(live.model)) == [*live.model.encoder.block, *live.model.decoder.block]
    with (
        pytest.raises(TrainingError, match=r"repeated layers.*Linear.*set it to false"),
        compiled.compiled(torch.nn.Linear(1, 1)),
    ):
        pass


def test_what_the_compiler_says_is_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from torch._inductor.exc import InvalidCxxCompiler

    def failing(*_: Any, **__: Any) -> Any:
        raise InvalidCxxCompiler

    monkeypatch.setattr(torch, "compile", lambda *_, **__: failing)
    with pytest.raises(TrainingError, match=r"cannot compile .*C\+\+ compiler found.*apt install g\+\+"):
        go(tmp_path, SIX.model_copy(update={"compile": True}), "causal")


@pytest.mark.slow
def test_a_missing_compiler_is_a_sentence(tmp_path: Path) -> None:
    import torch._inductor.config

    torch.compiler.reset()
    with (
        torch._inductor.config.patch({"cpp.cxx": ("no-such-compiler",)}),
        pytest.raises(TrainingError, match=r"cannot compile.*apt install g\+\+.*train.compile to false"),
    ):
        go(tmp_path, SIX.model_copy(update={"compile": True}), "causal")
    torch.compiler.reset()


def test_neither_is_part_of_what_comes_out() -> None:
    assert spec().decisive() == spec(compile=True, liger=True).decisive()


# ---------------------------------------------------------------- Liger's kernels

LIGER = """
def _apply_liger_kernel_to_instance(model, **settings):
    from transformers.models.llama import modeling_llama
    GIVEN.append(settings)
    modeling_llama.apply_rotary_pos_emb = None if FAULT == "positions" else rotary
    modeling_llama.LlamaRMSNorm = Norm
    for module in model.modules():
        if type(module).__name__ == "LlamaRMSNorm":
            module.__dict__["forward"] = Norm.forward.__get__(module)

class Norm:
    def forward(self, hidden):
        import torch
        norm = torch.nn.functional.rms_norm(hidden, hidden.shape[-1:], self.weight, self.variance_epsilon)
        return norm * SCALE

from transformers.models.llama.modeling_llama import apply_rotary_pos_emb as plain

def rotary(*given, **named):
    return plain(*given, **named)

GIVEN, FAULT, SCALE = [], "", 1.0
"""
"""Does with a model and its family what liger-kernel 0.8.5 does, in plain torch."""


@pytest.fixture
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A package liger_kernel, on a machine whose processor is, as far as `liger` can see, a GPU."""
    folder = tmp_path / "site" / "liger_kernel" / "transformers"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    (folder / "__init__.py").write_text(LIGER, encoding="utf-8")
    (folder / "monkey_patch.py").write_text(
        "MODEL_TYPE_TO_APPLY_LIGER_FN = {'llama': None}\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setattr("transformers.integrations.liger.is_liger_kernel_available", lambda: True)
    monkeypatch.setattr(liger, "GPU", "cpu")
    before = {name for name in sys.modules if name.partition(".")[0] == "liger_kernel"}
    assert not before, "the real one is not to be touched"
    yield importlib.import_module("liger_kernel.transformers")
    for name in [name for name in sys.modules if name.partition(".")[0] == "liger_kernel"]:
        del sys.modules[name]


@pytest.mark.skipif(find_spec("liger_kernel") is not None, reason="liger-kernel itself is installed")
@pytest.mark.parametrize("more", [{}, {"lora": Lora(rank=2)}], ids=["plain", "adapters"])
def test_kernels_are_put_in_for_the_training_and_taken_out_after(
    tmp_path: Path, losses: list[list[float]], kernels: Any, more: dict[str, Any]
) -> None:
    from transformers.models.llama import modeling_llama

    before = dict(vars(modeling_llama))
    plain = SIX.model_copy(update=more)
    wanted = go(tmp_path / "plain", plain, "causal")
    assert kernels.GIVEN == []
    found = go(tmp_path / "kernels", plain.model_copy(update={"liger": True}), "causal")
    assert len(kernels.GIVEN) == 2, "once to be proved and once by the Trainer"
    assert all(
        given == {"cross_entropy": False, "fused_linear_cross_entropy": False} for given in kernels.GIVEN
    )
    assert dict(vars(modeling_llama)) == before
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)
    assert found.keys() == wanted.keys()


@pytest.mark.skipif(find_spec("liger_kernel") is not None, reason="liger-kernel itself is installed")
def test_a_model_is_as_it_was_after_its_kernels(kernels: Any) -> None:
    live: Any = scratch("causal").create(TEXTS, 0)
    with liger.undone(live.model, "cpu"):
        liger.prove(live.model, "cpu")
        assert any("forward" in vars(module) for module in live.model.modules())
    assert not any("forward" in vars(module) for module in live.model.modules())
    kernels.SCALE = 2.0
    with (
        pytest.raises(TrainingError, match=r"change the logits of this student \(LlamaForCausalLM\) by"),
        liger.undone(live.model, "cpu"),
    ):
        pass
    assert not any("forward" in vars(module) for module in live.model.modules())


@pytest.mark.skipif(find_spec("liger_kernel") is not None, reason="liger-kernel itself is installed")
def test_a_family_without_kernels_is_a_sentence(tmp_path: Path, kernels: Any) -> None:
    del kernels
    with pytest.raises(TrainingError, match=r"no kernels for students of the family t5: .* one of llama"):
        go(tmp_path, SIX.model_copy(update={"liger": True}), "seq2seq")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_kernels_need_a_gpu(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"train.liger needs a CUDA device.*set it to false"):
        go(tmp_path, SIX.model_copy(update={"liger": True}), "causal")


@pytest.mark.skipif(find_spec("liger_kernel") is not None, reason="liger-kernel is installed")
def test_kernels_need_the_package() -> None:
    with pytest.raises(TrainingError, match=r"not installed: pip install liger-kernel"):
        liger.check(scratch("causal").create(TEXTS, 0), liger.GPU)


@pytest.mark.skipif(
    find_spec("liger_kernel") is None or not torch.cuda.is_available(), reason="needs a GPU and liger-kernel"
)
def test_real_kernels_have_the_losses_of_the_others(tmp_path: Path, losses: list[list[float]]) -> None:
    go(tmp_path / "plain", SIX, "causal")
    go(tmp_path / "kernels", SIX.model_copy(update={"liger": True}), "causal")
    assert losses[1] == pytest.approx(losses[0], abs=1e-2)


def test_trl_takes_neither() -> None:
    from understudy.learners import _trl

    lesson: Any = SimpleNamespace(spec=spec(compile=True))
    with pytest.raises(TrainingError, match=r"do not go with training by TRL: set both to false"):
        _trl.fit(lesson, None, None, lambda groups: {})
