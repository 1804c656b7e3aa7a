"""The live side of the `transformers` teacher: a model in memory that continues prompts in batches.

Prompts are sorted by length, longest first, so that padding is small and a batch that does not fit in
memory fails at once. Sampling is plain: a checkpoint's own preferences (top-k, penalties) are
switched off, because they are not in the recipe and so not in the ledger's key.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.errors import TeacherError
from understudy.roles import Identity, Landed
from understudy.streams import windows
from understudy.types import Completion, FinishReason, Request, Sampling

if TYPE_CHECKING:
    import torch


_SLACK = 8
"""Tokens that are read beside those that a stop string could take: some tokens hold no character."""


@dataclass(frozen=True, slots=True)
class _Job:
    """One sample to draw."""

    position: int
    sample: int
    question_id: str
    tokens: tuple[int, ...]


class Local:
    """A completer around a model and its tokenizer."""

    def __init__(
        self, identity: Identity, model: str, revision: str, dtype: str, device: str, batch_tokens: int
    ) -> None:
        """The arguments are the fields of the `transformers` teacher, and who it says it is."""
        self._identity = identity
        self._name = model
        self._batch_tokens = batch_tokens
        self._device = _device(device)
        self._tokenizer, self._model = _load(model, revision, dtype, self._device)
        config = self._model.config
        self._seq2seq = bool(config.is_encoder_decoder)
        # An encoder-decoder reads with relative positions or cuts by itself: no limit to hold here.
        self._limit: int | None = None if self._seq2seq else getattr(config, "max_position_embeddings", None)
        self._ends = _ends(self._model.generation_config.eos_token_id, self._tokenizer.eos_token_id)
        pad = self._tokenizer.pad_token_id
        self._pad: int = pad if pad is not None else next(iter(sorted(self._ends)), 0)

    @property
    def identity(self) -> Identity:
        """The commit that was loaded takes the place of a branch name or of no revision."""
        known = self._identity
        commit = getattr(self._model.config, "_commit_hash", None)
        return Identity(known.endpoint, known.model, commit) if commit else known

    def close(self) -> None:
        """Let go of the model, so that its memory can be used by the students."""
        del self._model

    def complete(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Sequence[Landed]]:
        """See `roles.Completer`. Raises TeacherError when a batch does not fit in memory."""
        for window in windows(enumerate(requests)):
            jobs = [job for position, request in window for job in self._jobs(position, request)]
            if too_long := [job for job in jobs if not self._fits(job)]:
                yield [(job.position, self._refused(job)) for job in too_long]
            fitting = sorted(filter(self._fits, jobs), key=lambda j: (-len(j.tokens), j.position, j.sample))
            for batch in _batches(fitting, sampling.max_tokens, self._batch_tokens):
                completions = self._generate(batch, sampling)
                yield [(job.position, said) for job, said in zip(batch, completions, strict=True)]

    def _jobs(self, position: int, request: Request) -> list[_Job]:
        tokens = self._encode(request)
        return [_Job(position, sample, request.question.id, tokens) for sample in request.samples]

    def _fits(self, job: _Job) -> bool:
        return self._limit is None or len(job.tokens) < self._limit

    def _refused(self, job: _Job) -> Completion:
        error = f"context too long: {len(job.tokens)} tokens, the model reads {self._limit}"
        return Completion(job.question_id, job.sample, "", "error", error=error)

    def _encode(self, request: Request) -> tuple[int, ...]:
        """The prompt as token ids: by the chat template, or as text to go on from."""
        from jinja2 import TemplateError

        if not self._tokenizer.chat_template:
            text = "\n\n".join(message.content for message in request.messages)
            tokens = list(self._tokenizer(text)["input_ids"])
            if not self._seq2seq and tokens and tokens[-1] in self._ends and len(tokens) > 1:
                tokens.pop()  # some tokenizers end every text, and nothing is to be added after an end
            return tuple(tokens)
        turns = [{"role": message.role, "content": message.content} for message in request.messages]
        try:
            text = self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        except TemplateError as error:
            raise TeacherError(
                f"the chat template of '{self._name}' refuses the prompt ({error}); "
                "many take no system message, so try with prompt.system empty"
            ) from error
        return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _generate(self, batch: Sequence[_Job], sampling: Sampling) -> list[Completion]:
        import torch

        longest = max(len(job.tokens) for job in batch)
        room = sampling.max_tokens if self._limit is None else min(sampling.max_tokens, self._limit - longest)
        ids, mask = self._padded(batch, longest)
        start = 1 if self._seq2seq else longest
        # The sampler draws from torch's global generator: leave it as it was found.
        devices = [torch.device(self._device)] if self._device.startswith("cuda") else []
        with torch.inference_mode(), torch.random.fork_rng(devices=devices):
            torch.manual_seed(_seed(sampling.seed, batch))
            try:
                output = self._model.generate(
                    input_ids=ids,
                    attention_mask=mask,
                    generation_config=self._plain(sampling, room),
                    stopping_criteria=self._stopping(sampling.stop, start),
                )
            except torch.OutOfMemoryError as error:
                raise TeacherError(
                    f"a batch of {len(batch)} prompts does not fit in memory; lower teacher.batch_tokens "
                    f"({self._batch_tokens})"
                ) from error
        rows = output[:, start:].tolist()
        return [self._completion(job, row, sampling) for job, row in zip(batch, rows, strict=True)]

    def _padded(self, batch: Sequence[_Job], longest: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Padded on the left for decoders, which go on from the last token, else on the right."""
        import torch

        ids, mask = [], []
        for job in batch:
            gap = longest - len(job.tokens)
            pads, ones = [self._pad] * gap, [1] * len(job.tokens)
            ids.append([*job.tokens, *pads] if self._seq2seq else [*pads, *job.tokens])
            mask.append([*ones, *([0] * gap)] if self._seq2seq else [*([0] * gap), *ones])
        return torch.tensor(ids, device=self._device), torch.tensor(mask, device=self._device)

    def _plain(self, sampling: Sampling, room: int) -> Any:
        from transformers import GenerationConfig

        own = self._model.generation_config
        drawn = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
        return GenerationConfig(
            do_sample=sampling.temperature > 0,
            max_new_tokens=room,
            num_beams=1,
            repetition_penalty=1.0,
            pad_token_id=self._pad,
            eos_token_id=sorted(self._ends) or None,
            bos_token_id=own.bos_token_id,
            decoder_start_token_id=own.decoder_start_token_id,
            **(drawn if sampling.temperature > 0 else {}),
        )

    def _stopping(self, stops: Sequence[str], start: int) -> Any:
        """End a row as soon as it holds a stop string. The library's own way reads every token of the
        vocabulary apart, which not all tokenizers allow; this reads the end of the text."""
        import torch
        from transformers import StoppingCriteriaList

        tail = max((len(stop) for stop in stops), default=0) + _SLACK

        def ended(ids: torch.Tensor, _scores: object, **_: object) -> torch.Tensor:
            texts = self._tokenizer.batch_decode(ids[:, max(start, ids.shape[1] - tail) :])
            return torch.tensor([any(stop in text for stop in stops) for text in texts], device=ids.device)

        return StoppingCriteriaList([ended] if stops else [])

    def _completion(self, job: _Job, row: Sequence[int], sampling: Sampling) -> Completion:
        ended = next((at for at, token in enumerate(row) if token in self._ends), None)
        tokens = row if ended is None else row[: ended + 1]
        while len(tokens) > 1 and tokens[-1] == self._pad and tokens[-1] not in self._ends:
            tokens = tokens[:-1]
        text = self._tokenizer.decode(tokens, skip_special_tokens=True)
        stops = [at for stop in sampling.stop if (at := text.find(stop)) >= 0]
        finish: FinishReason = "stop" if stops or ended is not None else "length"
        return Completion(
            question_id=job.question_id,
            sample=job.sample,
            text=text[: min(stops)] if stops else text,
            finish_reason=finish,
            prompt_tokens=len(job.tokens),
            completion_tokens=len(tokens),
        )


def _batches(jobs: Sequence[_Job], max_tokens: int, batch_tokens: int) -> Iterator[list[_Job]]:
    """Cut sorted jobs into batches of at most `batch_tokens`, answers included, but one job at least."""
    start = 0
    while start < len(jobs):
        rows = max(1, batch_tokens // (len(jobs[start].tokens) + max_tokens))
        yield list(jobs[start : start + rows])
        start += rows


def _seed(seed: int | None, batch: Sequence[_Job]) -> int:
    """A batch's own seed, so that samples asked for later do not repeat those asked for first."""
    if seed is None:
        return secrets.randbits(63)
    names = [f"{job.question_id}:{job.sample}" for job in batch]
    return int.from_bytes(hashlib.sha256("\n".join([str(seed), *names]).encode()).digest()[:7], "big")


def _ends(configured: int | list[int] | None, tokenizer: int | None) -> frozenset[int]:
    listed = configured if isinstance(configured, list) else [configured, tokenizer]
    return frozenset(token for token in listed if token is not None)


def _device(wanted: str) -> str:
    import torch

    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _load(name: str, revision: str, wanted: str, device: str) -> tuple[Any, Any]:
    """The tokenizer and the model; nothing from the checkpoint is executed."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

    dtype: Any = {"float32": torch.float32, "bfloat16": torch.bfloat16}.get(wanted)
    if dtype is None:
        dtype = torch.float32 if device == "cpu" else "auto"
    place = str(Path(name).expanduser())
    source = {"revision": revision or None, "trust_remote_code": False}
    try:
        config = AutoConfig.from_pretrained(place, **source)
        kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        tokenizer = AutoTokenizer.from_pretrained(place, **source)
        model = kind.from_pretrained(place, dtype=dtype, **source).to(device).eval()
    except (OSError, ValueError, ImportError) as error:
        first = str(error).strip().partition("\n")[0]
        raise TeacherError(
            f"cannot load the teacher '{name}' ({first}); give a folder that holds a model and its "
            "tokenizer, or a Hub id that can be reached"
        ) from error
    return tokenizer, model
