"""A student's weights in the format of CTranslate2, with token ids for tokens.

The converter that comes with CTranslate2 reads a tokenizer and takes its entries for the vocabulary. Here
every entry is its own number as text, "0", "1", ..., so that any tokenizer will do, embeddings may have more
rows than a tokenizer has entries, and no two entries are ever alike.
"""

from __future__ import annotations

import copy
import os
import shutil
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

CONVERTED = (
    "T5Config",
    *("LlamaConfig", "MistralConfig", "Qwen2Config", "Qwen3Config", "GPT2Config"),
)
"""Configurations whose conversion is tested."""


def no_conversion(model: Any) -> str:
    """Why a model is not converted, as the end of a sentence; empty where it is."""
    kind = type(model.config).__name__
    return "" if kind in CONVERTED else f"its conversion of {kind.removesuffix('Config')} models is not tried"


def converted(live: Any, folder: Path) -> Path:
    """The folder with the model; whole if it is there, and made if it is not."""
    if (folder / "model.bin").is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    begun = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        _save(live, begun)
        # Another process may have been faster: what it has put there is the same.
        with suppress(OSError):
            begun.rename(folder)
    finally:
        shutil.rmtree(begun, ignore_errors=True)
    return folder


def _save(live: Any, folder: Path) -> None:
    import torch

    # Converters take the model apart as they read it.
    model = copy.deepcopy(live.model).to("cpu", torch.float32)
    loader = import_module("ctranslate2.converters.transformers")._MODEL_LOADERS[type(model.config).__name__]
    rows = model.get_input_embeddings().weight.shape[0]
    with torch.no_grad():
        spec = loader.get_model_spec(model)
        loader.set_config(spec.config, model, _numbered(live))
        loader.set_vocabulary(spec, [str(number) for number in range(rows)])
        _scaled(spec, model.config)
        spec.validate()
        spec.optimize()
    folder.mkdir(parents=True)
    spec.save(str(folder))


def _numbered(live: Any) -> Any:
    """As much of a tokenizer as the converters ask for, with numbers for tokens."""
    pad, end = str(live.pad), str(min(live.ends))
    return SimpleNamespace(
        pad_token=pad,
        bos_token=pad,
        eos_token=end,
        unk_token=pad,
        eos_token_id=int(end),
        convert_ids_to_tokens=str,
    )


def _scaled(spec: Any, config: Any) -> None:
    """Whether T5's last states are scaled before the vocabulary. transformers 5 ties the embeddings of every
    T5 and says it in a key of its own, which the converter does not read; Flan-T5 is not scaled."""
    scaled = getattr(config, "scale_decoder_outputs", None)
    if scaled is not None:
        spec.decoder.scale_outputs = config.d_model**-0.5 if scaled else 1.0
