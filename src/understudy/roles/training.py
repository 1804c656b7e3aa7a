"""How long and how students are trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from understudy.roles.spec import Spec


class Budget(Spec):
    """How long to train. "tokens" counts non-padding source + target tokens, which is proportional to
    FLOPs for decoders of one size. "flops" counts floating-point operations, so that methods with short and
    long targets get equal compute on encoder-decoders and between sizes too."""

    unit: Literal["tokens", "steps", "epochs", "flops"] = "epochs"
    amount: float = Field(3, gt=0)

    def times(self, share: float) -> Budget:
        return Budget(unit=self.unit, amount=self.amount * share)


class StoppingSpec(Spec):
    """When a training ends before its budget, by what it is worth on dev; the best weights are kept."""

    metric: Literal["dev_loss", "dev_accuracy"] = "dev_loss"
    """The loss on dev's rationales, or the share of dev's questions that are answered right."""
    every: float = Field(0.1, gt=0, le=1)
    """Share of the steps after which it is measured, again and again, and at the end."""
    patience: int = Field(3, gt=0)
    """So many measurements in a row without a better one end the training."""
    questions: int = Field(200, gt=0)
    """Questions of dev that are answered, at most, for dev_accuracy; evenly spaced."""


class ClusterSpec(Spec):
    """A training on the machines of a Ray cluster, which goes on when it loses one of them."""

    address: str | None = None
    """The cluster, "auto" for one that runs on this machine. When absent, the variable RAY_ADDRESS, or else a
    cluster of this machine alone that is started and ended with the step."""
    workers: int = Field(2, gt=0)
    """Processes that share each batch."""
    cpus: float = Field(1, gt=0)
    """Of each worker."""
    gpus: int = Field(0, ge=0, le=1)
    """Of each worker: one, or none to train on processors."""
    storage: Path | None = None
    """A folder that every machine sees under this path, for the job and its checkpoints. When absent, the
    step's own folder, which must then be such a one."""
    failures: int = Field(3, ge=0)
    """How many lost workers one training survives."""


class Lora(Spec):
    """Low-rank adapters (Hu et al., arXiv 2106.09685): only they are trained, and they are merged into the
    weights when the student is saved."""

    rank: int = Field(16, gt=0)
    alpha: float = Field(32, gt=0)
    """The adapters' output is scaled by alpha / rank."""
    dropout: float = Field(0.0, ge=0, lt=1)
    targets: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    """Ends of the names of the modules that get one, or every linear layer but the output head."""
    bits: Literal[4] | None = None
    """4 holds the frozen weights in 4-bit NormalFloat (QLoRA, arXiv 2305.14314), by bitsandbytes."""


class TrainSpec(Spec):
    """How students are trained. Of a list of learning rates, each method gets the one with the lowest loss
    on dev, whose questions the teacher then annotates too."""

    budget: Budget = Budget()
    learning_rate: float | tuple[float, ...] = 3e-4
    search_share: float = Field(0.25, gt=0, le=1)
    """Part of the budget that each candidate learning rate is tried with before one is chosen."""
    batch_tokens: int = Field(4096, gt=0)
    """Source + target tokens of a batch, padding included."""
    micro_batch_tokens: int | None = Field(None, gt=0)
    """Source + target tokens that are computed at a time, padding included: the gradients of a batch's parts
    add up to the batch's, so this is about memory alone. Null takes as many as fit."""
    warmup: float = Field(0.05, ge=0, lt=1)
    """Share of the steps over which the learning rate rises."""
    schedule: Literal["linear", "cosine", "constant", "inverse_sqrt", "warmup_stable_decay"] = "cosine"
    optimizer: Literal["adamw", "adamw_8bit", "muon"] = "adamw"
    """"muon" for students trained from scratch; checkpoints are fine-tuned with "adamw"."""
    weight_decay: float = Field(0.01, ge=0)
    beta2: float = Field(0.999, gt=0, lt=1)
    """AdamW's memory of squared gradients. Short trainings from scratch learn faster at 0.98."""
    clip: float = Field(1.0, gt=0)
    """Largest norm of the gradient."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """"auto" is bf16 where the hardware computes in it, else fp32."""
    max_source_tokens: int = Field(512, gt=0)
    max_target_tokens: int = Field(512, gt=0)
    """Longer examples are left out and counted, never cut: half a rationale teaches to stop half-way."""
    checkpoints: int = Field(4, ge=0)
    """How many resumable checkpoints are written during one training; the last one is kept."""
    checkpoint_minutes: float | None = Field(10, gt=0)
    """Another one is written when the last is so old: what a killed training loses at most."""
    stopping: StoppingSpec | None = None
    """End a training early, and keep what was best on dev."""
    average: int = Field(0, ge=0)
    """Save the mean of the weights at so many last measurements of `stopping`; 0 saves the best ones."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to train; "auto" is the best there is. One that is asked for and absent is an error."""
    report_to: tuple[Literal["tensorboard", "wandb", "mlflow", "trackio"], ...] = ()
    """Trackers that are told the losses. None by default: nothing leaves the machine unasked."""
    packing: bool = False
    """Several examples in one row, none of which sees another."""
    pack_tokens: int | None = Field(None, gt=0)
    """Source + target tokens of a packed row. Null chooses by the lengths of the examples."""
    gradient_checkpointing: bool = False
    """Computes each layer once more in the backward pass in place of holding what is inside it."""
    compile: bool = False
    """Runs each layer through torch.compile, which takes a minute or more before the first steps."""
    liger: bool = False
    """Liger's kernels for norms, rotary positions and gates of decoders: needs CUDA and liger-kernel."""
    lora: Lora | None = None
    """Adapters in place of all weights."""

    devices: Annotated[int, Field(gt=0)] | Literal["auto"] = 1
    """Processes that share each batch: GPUs, or, on a machine without, processes of its processors. "auto" is
    every GPU that is there. Batches stay the same, so only the order in which floats are added differs."""
    strategy: Literal["ddp", "fsdp"] = "ddp"
    """With several devices: each holds the whole student; or a share of its weights and optimizer, which
    needs GPUs."""
    deepspeed: Path | None = None
    """A DeepSpeed configuration that is passed through, in the place of `strategy`."""
    ray: ClusterSpec | None = None
    """Train on the machines of a Ray cluster, in the place of `devices`."""

    PLACE: ClassVar[frozenset[str]] = frozenset(
        {
            *("micro_batch_tokens", "checkpoint_minutes", "device", "report_to", "compile", "liger"),
            *("devices", "strategy", "ray"),
        }
    )
    """Fields that say where and how a training is done and never what comes out of it: not hashed."""

    def decisive(self) -> dict[str, Any]:
        """Every field that decides the outcome, as plain values."""
        return self.model_dump(mode="json", exclude=set(self.PLACE))

    def place(self) -> dict[str, Any]:
        """The others."""
        return self.model_dump(mode="json", include=set(self.PLACE))

    @field_validator("precision", mode="before")
    @classmethod
    def _wide_enough(cls, value: object) -> object:
        if value == "fp16":
            raise ValueError(
                "fp16 has no numbers above 65,504, and the activations of T5 and others go beyond: take "
                "bf16, which is as small, or fp32"
            )
        return value

    @model_validator(mode="after")
    def _possible(self) -> TrainSpec:
        if self.average and self.stopping is None:
            raise ValueError("'average' is over the measurements of 'stopping': give that too, or remove it")
        return self
