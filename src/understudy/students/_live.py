"""What the two architectures share: encoding text pairs, length limits, decoding and saving.

Labels are aligned with the logits that predict them, so one objective serves both architectures: a
decoder's labels are already shifted by one, an encoder-decoder's decoder inputs are.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from understudy.errors import TrainingError
from understudy.roles import Generated
from understudy.types import FinishReason

if TYPE_CHECKING:
    import torch

IGNORED = -100


def pad(rows: Sequence[Sequence[int]], filler: int, left: bool = False) -> torch.Tensor:
    """Token ids of shape (rows, longest row), int64."""
    import torch

    width = max(len(row) for row in rows)
    table = torch.full((len(rows), width), filler, dtype=torch.long)
    for i, row in enumerate(rows):
        if row:
            place = slice(width - len(row), width) if left else slice(0, len(row))
            table[i, place] = torch.tensor(row, dtype=torch.long)
    return table


def pad_id(tokenizer: Any) -> int:
    """The padding token, or end of text where a tokenizer has none (Llama, GPT-2)."""
    token = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    if token is None:
        raise TrainingError(
            "the tokenizer has neither a padding nor an end-of-text token: choose another one"
        )
    return int(token)


def closing_id(tokenizer: Any) -> int:
    """The token that closes a target. Raises TrainingError where a tokenizer has none."""
    if tokenizer.eos_token_id is None:
        raise TrainingError(
            "the tokenizer has no end-of-text token, so a student could never stop: choose another"
        )
    return int(tokenizer.eos_token_id)


def end_ids(model: Any, tokenizer: Any) -> set[int]:
    """Every token that ends a text: the tokenizer's, and what the checkpoint's generation config names."""
    named = getattr(model.generation_config, "eos_token_id", None)
    ends = set(named) if isinstance(named, list | tuple) else {named}
    return {int(token) for token in (*ends, tokenizer.eos_token_id) if token is not None}


def read_back(
    tokenizer: Any,
    new: Sequence[int],
    ends: set[int],
    source_tokens: int,
    stops: Sequence[str],
    logprobs: Sequence[float] = (),
) -> Generated:
    """Generated ids -> text before the end of text or the first stop string; "length" if neither came.

    `logprobs` are those of `new`, if they were measured. Tokens count, and so do their log-probabilities, up
    to and with the end of text, or the token that completes the stop string.
    """
    end = next((i for i, token in enumerate(new) if token in ends), None)
    tokens = len(new) if end is None else end + 1
    text = tokenizer.decode(list(new[:end]), skip_special_tokens=True)
    sought = [stop for stop in stops if stop]
    places = [at for at in (text.find(stop) for stop in sought) if at >= 0]
    reason: FinishReason = "length" if end is None and not places else "stop"
    if places:
        text = text[: min(places)]

        def stopped(length: int) -> bool:
            begun = tokenizer.decode(list(new[:length]), skip_special_tokens=True)
            return any(stop in begun for stop in sought)

        tokens = bisect_left(range(tokens), True, key=stopped)
    total = math.fsum(logprobs[:tokens])
    measured = len(logprobs) > 0 and math.isfinite(total)
    logprob = total if measured else None
    return Generated(text.strip(), reason, source_tokens, tokens, logprob, tuple(new[:tokens]))


def plain_generation(model: Any, ends: set[int], pad: int) -> Any:
    """A generation config of token ids alone. What else a checkpoint brings, such as a repetition penalty
    or beams, would silently change what a recipe asked for."""
    from transformers import GenerationConfig

    own = model.generation_config
    return GenerationConfig(
        bos_token_id=own.bos_token_id,
        decoder_start_token_id=own.decoder_start_token_id,
        eos_token_id=sorted(ends) or None,
        pad_token_id=pad,
    )


def generation_settings(temperature: float, top_p: float, max_tokens: int) -> dict[str, Any]:
    """Arguments of `generate`: greedy at temperature 0."""
    settings: dict[str, Any] = {"max_new_tokens": max_tokens, "num_beams": 1, "do_sample": temperature > 0}
    if temperature > 0:
        settings |= {"temperature": temperature, "top_p": top_p, "top_k": 0}
    return settings


def load_model(kind: Any, checkpoint: str, revision: str | None) -> Any:
    """A model in fp32, whatever it was saved in: small updates vanish in bf16 weights, and training in
    bf16 computes in it but keeps fp32 weights."""
    import torch

    return load_pretrained(kind, checkpoint, revision, dtype=torch.float32)


def load_pretrained(kind: Any, checkpoint: str, revision: str | None, **options: Any) -> Any:
    """A model or tokenizer from a hub id or folder. Code that a checkpoint carries is never run."""
    from safetensors import SafetensorError

    try:
        return kind.from_pretrained(checkpoint, revision=revision, trust_remote_code=False, **options)
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise TrainingError(
            f"cannot load the checkpoint '{checkpoint}': {reason} "
            "(give a local folder, or a hub id while online)"
        ) from error


@contextmanager
def inference(model: Any) -> Iterator[None]:
    """Evaluation mode without gradients, restored afterwards."""
    import torch

    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(training)
