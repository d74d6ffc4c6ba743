"""From a combo and a split to trained models: the staged recipe, or everything at once.

Staged (MMCAF-Net, Sec. 3): each image branch is trained alone with a head of its own and then
frozen; its features are computed once; the fusion, the heads and the tables' encoders are trained
on them. With `encoder_first`, a branch with necks takes two stages, the encoder frozen in the
second. Tables are trained alone too, so that the gain of fusing can be seen. Joint: all parts learn
together.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from lightning_fabric import Fabric
from torch import nn

from fusionzoo.data.dataset import AbstractDataset
from fusionzoo.data.loader import CaseLoader
from fusionzoo.data.splits import Split
from fusionzoo.data.tabular import TableEncoder
from fusionzoo.data.transforms import default_augmentations
from fusionzoo.errors import BadOption
from fusionzoo.grammar import Binding, Chain, Combo
from fusionzoo.interface import AbstractFusion
from fusionzoo.models.assemble import assemble
from fusionzoo.models.model import Feature, FusionModel
from fusionzoo.training.branches import BranchStore
from fusionzoo.training.cache import FeatureCache, cached_bytes, encode_all
from fusionzoo.training.config import TrainConfig
from fusionzoo.training.fitting import (
    Judged,
    gather_features,
    gather_logits,
    implements,
    part_by_patient,
)
from fusionzoo.training.loop import Known, StageModel, StageTrainer
from fusionzoo.training.observer import HELD_OUT, EpochReport, Observer
from fusionzoo.training.processes import gathered

#: Features of frozen trunks are kept in memory up to this many bytes; above it the trunk runs at
#: every step.
CACHE_LIMIT = 2 * 1024**3


@dataclass
class Trained:
    """What training leaves.

    Args:
        models: The combo's model under `fused` (or the one modality's name), and each baseline
            under its modality.
        main: Name of the combo's model.
        recipe: `staged` or `joint`, as it was resolved.
        history: Epoch reports per stage.
        reused_seconds: Time that stages took which another run had trained before.
    """

    models: dict[str, FusionModel]
    main: str
    recipe: str
    history: dict[str, list[EpochReport]] = field(default_factory=dict)
    reused_seconds: float = 0.0


class Trainer:
    """Trains one combo on one split.

    Args:
        combo: What to train.
        dataset: Where the cases come from.
        split: Which cases train, validate and test.
        encoders: Fitted table encoders by modality.
        config: Settings.
        seed: Seed of weights, order, augmentation and dropout.
        fabric: Carries device and precision.
        folder: Where checkpoints go; None keeps nothing on disk.
        identity: Hash of all that defines the run.
        observer: Hears of progress.
        branches: Trained branches that other runs left, and where this one leaves its own.
        prefix: What the stages' names begin with; something for a model that only another one
            needs.
    """

    def __init__(
        self,
        combo: Combo,
        dataset: AbstractDataset,
        split: Split,
        encoders: Mapping[str, TableEncoder],
        config: TrainConfig,
        *,
        seed: int,
        fabric: Fabric,
        folder: Path | None,
        identity: str,
        observer: Observer,
        branches: BranchStore | None = None,
        prefix: str = "",
    ):
        self.branches, self.prefix = branches, prefix
        self.combo, self.dataset, self.split, self.encoders, self.config = (
            combo,
            dataset,
            split,
            encoders,
            config,
        )
        self.seed, self.fabric, self.folder, self.identity, self.observer = (
            seed,
            fabric,
            folder,
            identity,
            observer,
        )
        self.kinds = {modality.name: modality.kind for modality in dataset.spec.modalities}

    def train(self) -> Trained:
        """All stages, each from its checkpoint where there is one."""
        model = assemble(self.combo, self.dataset.spec, seed=self.seed)
        recipe = self._recipe(model)
        if recipe == "staged":
            return self._staged(model)
        return self._joint(model) if recipe == "joint" else self._untrained(model)

    def _recipe(self, model: FusionModel) -> str:
        """`staged`, `joint` or `untrained`; a recipe that can't be is refused."""
        tables = [f for f in model.features if self._is_table(f)]
        shared = any(len(binding.inputs) > 1 for binding in self.combo.bindings)
        possible = model.fusion is not None and not model.exchanges and not shared
        if self.config.recipe == "staged" and not possible:
            why = (
                "there is nothing to fuse"
                if model.fusion is None
                else "its branches exchange features or share an encoder"
            )
            raise BadOption(
                f"The spec {str(self.combo)!r} can't be trained in stages: {why}. Use recipe=joint."
            )
        if self.config.recipe != "auto":
            return self.config.recipe
        return "staged" if possible and tables and len(tables) < len(model.features) else "joint"

    def _is_table(self, feature: Feature) -> bool:
        return all(self.kinds[name] == "table" for name in feature.modalities)

    def _solo(self, binding: Binding) -> Combo:
        return Combo((binding,), None, self.combo.head)

    def _untrained(self, model: FusionModel) -> Trained:
        self.fabric.to_device(model)
        main = "fused" if model.fusion is not None else model.features[0].name
        return Trained({main: model.eval()}, main, "untrained")

    def _joint(self, model: FusionModel) -> Trained:
        main = "fused" if model.fusion is not None else model.features[0].name
        trained = Trained({main: model}, main, "joint")
        table_only = all(self._is_table(f) for f in model.features)
        self._stage(trained, main, model, table=table_only, modalities=self.combo.modalities)
        if model.fusion is not None and self.config.baselines == "all":
            for binding in self.combo.bindings:
                self._baseline(trained, binding)
        return trained

    def _staged(self, model: FusionModel) -> Trained:
        trained = Trained({"fused": model}, "fused", "staged")
        frozen = [feature for feature in model.features if not self._is_table(feature)]
        frozen_names = {feature.name for feature in frozen}
        for binding in self.combo.bindings:
            name = "+".join(binding.inputs[0])
            if name in frozen_names or self.config.baselines != "none":
                self._baseline(trained, binding)
        for feature in frozen:
            model.trunks[feature.encoder].load_state_dict(
                {
                    **model.trunks[feature.encoder].state_dict(),
                    **_shared_state(model, trained.models[feature.name], feature),
                }
            )
        known, cached = self._cache(model, frozen)
        read = tuple(m for f in model.features if f.name not in cached for m in f.modalities)
        trunks = [model.trunk(feature) for feature in frozen]
        self._stage(
            trained, "fused", model, table=True, modalities=read, frozen=trunks, known=known
        )
        return trained

    def _baseline(self, trained: Trained, binding: Binding) -> None:
        """One modality with a head of its own; its encoder alone before, with `encoder_first`."""
        solo = assemble(self._solo(binding), self.dataset.spec, seed=self.seed)
        (feature,) = solo.features[:1]
        frozen: list[nn.Module] = []
        if self.config.encoder_first and len(binding.chain.calls) > 1:
            alone = Binding(binding.inputs, Chain(binding.chain.calls[:1]))
            first = assemble(self._solo(alone), self.dataset.spec, seed=self.seed)
            name = f"{feature.name} encoder"
            self._stage(trained, name, first, table=False, modalities=feature.modalities)
            encoder = solo.trunk(feature).encoder
            encoder.load_state_dict(first.trunk(first.features[0]).encoder.state_dict())
            frozen.append(encoder)
        trained.models[feature.name] = solo
        self._stage(
            trained,
            feature.name,
            solo,
            table=self._is_table(feature),
            modalities=feature.modalities,
            frozen=frozen,
        )

    def _stage(
        self,
        trained: Trained,
        name: str,
        model: FusionModel,
        *,
        table: bool,
        modalities: Iterable[str],
        frozen: Sequence[nn.Module] = (),
        known: Known | None = None,
    ) -> None:
        """Train one model; `table` picks the settings for models that are quick to train."""
        name, config = f"{self.prefix}{name}", self.config
        self.fabric.to_device(model)
        spec = str(model.plan.combo)
        shared = self.branches if model.fusion is None else None
        # One process looks for all, because another run may leave it between two looks.
        look = self.fabric.is_global_zero
        found = shared.find(name, spec) if shared and look else None
        found = gathered(self.fabric, found)[0]
        if found is not None:
            state, trained.history[name] = found
            model.load_state_dict(state)
            model.eval()
            trained.reused_seconds += sum(report.seconds for report in trained.history[name])
            self.observer.note(f"Stage {name!r} was trained by an earlier run; it is read.")
            return
        trainer = StageTrainer(
            name,
            StageModel(model, frozen, mode=config.frozen),
            self.dataset.spec.tasks,
            config,
            epochs=config.fuse_epochs if table else config.epochs,
            lr=config.fuse_lr if table else config.lr,
            fabric=self.fabric,
            folder=self.folder,
            identity=self.identity,
            seed=self.seed,
            observer=self.observer,
            known=known,
        )
        wanted = tuple(dict.fromkeys(modalities))
        train = self.loader(self.split.train, wanted, train=True)
        val = self.loader(self.split.val, wanted)
        trained.history[name] = trainer.run(train, val)
        if shared and look:
            shared.keep(name, spec, model.state_dict(), trained.history[name])
        if model.fusion is not None:
            self._fit(trained, model, model.fusion, wanted, known)
        model.eval()

    def _fit(
        self,
        trained: Trained,
        model: FusionModel,
        fusion: AbstractFusion,
        wanted: tuple[str, ...],
        known: Known | None,
    ) -> None:
        """What the fusion fits without gradients, on training cases, then on validation cases."""
        device = self.fabric.device
        if implements(fusion, "fit_features"):
            train = self.loader(self.split.train, wanted)
            fusion.fit_features(*gather_features(model, train, device, known))
        stacks = fusion.held_out > 0 and not self.prefix
        if stacks or implements(fusion, "fit"):
            val = gather_logits(model, self.loader(self.split.val, wanted), device, known)
            fusion.fit(*val)
            if stacks:
                self._stack(trained, fusion, val)

    def _stack(self, trained: Trained, fusion: AbstractFusion, val: Judged) -> None:
        """Logits of training cases from a second model that hasn't seen them, for the fusion."""
        rows, groups = self.split.train, self.dataset.groups
        parts = part_by_patient(rows, groups, fusion.held_out, self.seed)
        if parts is None:
            self.observer.note("All training cases are one patient's: none can be held out.")
            return
        seen, unseen = parts
        self.observer.note(
            f"The fusion learns from cases that a model hasn't seen: a second one is trained on "
            f"{len(seen)} of the {len(rows)} training cases and judges the other {len(unseen)}."
        )
        other = Trainer(
            self.combo,
            self.dataset,
            replace(self.split, train=seen),
            self.encoders,
            replace(self.config, baselines="none"),
            seed=self.seed,
            fabric=self.fabric,
            folder=self.folder,
            identity=self.identity,
            observer=self.observer,
            prefix=HELD_OUT,
        ).train()
        trained.history |= other.history
        cases = self.loader(unseen, self.combo.modalities)
        judged = gather_logits(other.models[other.main], cases, self.fabric.device)
        fusion.fit_stacked(*judged, *val)

    def loader(
        self,
        indices: np.ndarray,
        modalities: tuple[str, ...],
        *,
        train: bool = False,
        augmented: bool = False,
    ) -> CaseLoader:
        """Cases in order, or shuffled, balanced and augmented for training."""
        preset = self.config.augment if train or augmented else "none"
        return CaseLoader(
            self.dataset,
            indices,
            self.encoders,
            batch_size=self.config.batch_size,
            seed=self.seed,
            train=train,
            augmentation=default_augmentations(self.dataset.spec.modalities, preset),
            balance=self.config.balance,
            modalities=modalities,
            part=(self.fabric.global_rank, self.fabric.world_size) if train else (0, 1),
        )

    def _cache(self, model: FusionModel, frozen: list[Feature]) -> tuple[Known, set[str]]:
        """Features of the frozen streams, where they fit in memory."""
        if self.config.frozen == "train":
            return (lambda index, epoch: {}), set()
        self.fabric.to_device(model)
        model.eval()
        split, views = self.split, self.config.views
        wanted = tuple(m for feature in frozen for m in feature.modalities)
        probe = next(iter(self.loader(split.val[: self.config.batch_size], wanted))).to(
            self.fabric.device
        )
        needed = cached_bytes(model, frozen, probe, len(split.train) + len(split.val), views)
        if needed > CACHE_LIMIT:
            self.observer.note(
                f"Frozen features would take {needed / 1024**3:.1f} GiB; they are computed at "
                "every step instead."
            )
            return (lambda index, epoch: {}), set()
        caches = {feature.name: FeatureCache(len(self.dataset.cases)) for feature in frozen}
        for feature in frozen:
            trunk, cache = model.trunks[feature.encoder], caches[feature.name]
            plain = self.loader(np.concatenate([split.train, split.val]), feature.modalities)
            cache.add_plain(encode_all(trunk, model, feature, plain, self.fabric))
            augmented = self.loader(split.train, feature.modalities, augmented=True)
            for view in range(views):
                augmented.set_epoch(view)
                cache.add_view(encode_all(trunk, model, feature, augmented, self.fabric))
        return (
            lambda index, epoch: {name: cache(index, epoch) for name, cache in caches.items()}
        ), set(caches)


def _shared_state(model: FusionModel, solo: FusionModel, feature: Feature) -> dict[str, Any]:
    """Trunk weights of a branch trained alone that the fused model has too."""
    (source,) = solo.trunks.values()
    own = model.trunks[feature.encoder].state_dict()
    return {
        key: value
        for key, value in source.state_dict().items()
        if key in own and own[key].shape == value.shape
    }
