"""Settings of a training run: one frozen record, checked at once, written beside every result."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fusionzoo import registry
from fusionzoo.errors import BadOption, FusionZooError, nearest
from fusionzoo.grammar import parse_chain
from fusionzoo.registry import in_words, value_fits

#: What `augment` may say beside the names of plugins' augmentations.
AUGMENT = ("auto", "none", "iimgf_net", "iimgf_net_official")


@dataclass(frozen=True)
class TrainConfig:
    """How a combo is trained.

    Args:
        recipe: `staged` trains each image branch alone, freezes it and trains the fusion on its
            features (the recipe of MMCAF-Net, Sec. 3); `joint` trains everything at once; `auto` is
            staged where a table meets images and the fusion leaves branches alone until the end,
            else joint; `untrained` tests the weights as they are, those of a file usually.
        epochs: Most epochs of a stage that trains an encoder of images, or of joint training.
        fuse_epochs: Most epochs of the fusion stage, and of a table on its own.
        batch_size: Cases a step.
        lr: Peak learning rate of image stages and of joint training.
        fuse_lr: Peak learning rate of the fusion stage and of tables.
        weight_decay: Decoupled weight decay of AdamW; L2 penalty of Adam and SGD.
        optimizer: `adamw`, `adam` or `sgd`.
        momentum: Momentum of SGD.
        dampening: Dampening of SGD's momentum; at the momentum's own value a step is no longer than
            without momentum.
        decay_all: Whether weight decay acts on norms and biases too.
        schedule: `cosine` to zero after `warmup` of the steps, `constant` after it, or `samples`:
            counted in cases seen, whatever the number of epochs, as MMCAF-Net's release does.
        warmup: Share of all steps in which the rate rises linearly.
        warmup_samples: Cases in which the rate rises from 0, for `samples`.
        cosine_samples: Half a period of the cosine in cases, for `samples`.
        patience: Epochs without a better validation score before a stage stops; 0 never stops
            early.
        monitor: Validation score that picks the epoch: `loss` (lowest), `auroc` or `accuracy`
            (highest, mean over tasks). Of equal epochs the first is kept.
        loss: `bce` (cross-entropy) or `focal` (gamma 2).
        balance: `none`, `oversample` (copies of rare classes up to the most frequent) or `weighted`
            sampling; training part only.
        augment: `auto` changes images and volumes of the training part at random, each kind in its
            way; `none` does not. `iimgf_net` and `iimgf_net_official` give images what IIMGF-Net's
            released code does, on all images alike and as it is there: see
            `fusionzoo.data.transforms.default_augmentations`. Anything else names augmentations of
            plugins, in a chain: `flip_some+add_noise(level=0.1)`.
        views: Augmented passes over the training part whose frozen features are cached; 0 caches
            the plain one only.
        encoder_first: Whether a branch with necks trains its encoder alone first and freezes it for
            the rest of the branch; the staged recipe has three stages then.
        frozen: `eval` for frozen parts in evaluation mode, their features cached; `train` leaves
            dropout, batch statistics and stochastic depth on, as MMCAF-Net's release does, so that
            nothing can be cached.
        ema: Decay per step of the averaged weights that are evaluated and kept; 0 keeps the last
            ones.
        clip: Largest gradient norm; 0 leaves gradients as they are.
        baselines: Whether each modality is also trained and reported alone: `auto` does so in the
            staged recipe, where it costs next to nothing, `all` always, `none` only where a stage
            needs it.
    """

    recipe: Literal["auto", "staged", "joint", "untrained"] = "auto"
    epochs: int = 30
    fuse_epochs: int = 60
    batch_size: int = 32
    lr: float = 1e-3
    fuse_lr: float = 3e-3
    weight_decay: float = 1e-2
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    momentum: float = 0.9
    dampening: float = 0.0
    decay_all: bool = False
    schedule: Literal["cosine", "constant", "samples"] = "cosine"
    warmup: float = 0.1
    warmup_samples: int = 10_000
    cosine_samples: int = 600_000
    patience: int = 0
    monitor: Literal["loss", "auroc", "accuracy"] = "loss"
    loss: Literal["bce", "focal"] = "bce"
    balance: Literal["none", "oversample", "weighted"] = "none"
    augment: str = "auto"
    views: int = 8
    encoder_first: bool = False
    frozen: Literal["eval", "train"] = "eval"
    ema: float = 0.0
    clip: float = 1.0
    baselines: Literal["auto", "all", "none"] = "auto"

    def __post_init__(self) -> None:
        problems = [
            f"{field.name} must be finite, not {getattr(self, field.name)}."
            for field in dataclasses.fields(self)
            if field.type == "float" and not math.isfinite(getattr(self, field.name))
        ]
        for name in ("epochs", "fuse_epochs", "batch_size", "cosine_samples"):
            if getattr(self, name) < 1:
                problems.append(f"{name} must be at least 1, not {getattr(self, name)}.")
        for name in ("lr", "fuse_lr"):
            if not getattr(self, name) > 0:
                problems.append(f"{name} must be above 0, not {getattr(self, name)}.")
        for name in ("weight_decay", "patience", "views", "clip", "warmup_samples"):
            if getattr(self, name) < 0:
                problems.append(f"{name} can't be negative, it is {getattr(self, name)}.")
        for name in ("warmup", "ema", "momentum", "dampening"):
            if not 0 <= getattr(self, name) < 1:
                problems.append(f"{name} must be in [0, 1), not {getattr(self, name)}.")
        problems += _wrong_augmentation(self.augment)
        if problems:
            raise BadOption("\n".join(problems))

    @classmethod
    def from_settings(cls, *layers: Mapping[str, Any]) -> TrainConfig:
        """Defaults, then each layer of settings over the one before.

        Args:
            layers: A data set's suggestions, then the user's settings.

        Raises:
            BadOption: Every unknown setting and every value of the wrong type, at once.
        """
        hints = typing.get_type_hints(cls)
        merged: dict[str, Any] = {}
        problems = []
        for layer in layers:
            for name, value in layer.items():
                if name not in hints:
                    problems.append(
                        f"Training has no setting {name!r}. {nearest(name, hints)}It takes: "
                        f"{', '.join(hints)}."
                    )
                elif not value_fits(value, hints[name]):
                    problems.append(
                        f"Training setting {name!r} takes {in_words(hints[name])}, not {value!r}."
                    )
                else:
                    merged[name] = float(value) if hints[name] is float else value
        if problems:
            raise BadOption("\n".join(problems))
        return cls(**merged)

    def to_json(self) -> dict[str, Any]:
        """Plain values by name."""
        return dataclasses.asdict(self)


def _wrong_augmentation(text: str) -> list[str]:
    """What is wrong with `augment`: one of `AUGMENT`, or parts of plugins in a chain."""
    if text in AUGMENT:
        return []
    try:
        named = [call.name for call in parse_chain(text).calls]
    except FusionZooError as error:
        return [f"augment={text!r} can't be read: {error}"]
    known = [*AUGMENT, *registry.names("augmentation")]
    return [
        f"There is no augmentation {name!r}. {nearest(name, known)}augment takes: "
        f"{', '.join(known)}."
        for name in named
        if name not in known or (name in AUGMENT and len(named) > 1)
    ]
