"""Batches of cases, in an order that depends on nothing but the seed and the epoch."""

import math
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from fusionzoo.data.augmentation_chain import AugmentationChain
from fusionzoo.data.dataset import AbstractDataset
from fusionzoo.data.tabular import TableEncoder
from fusionzoo.data.transforms import Augmentation, augment, case_keys, uniform
from fusionzoo.errors import BadOption
from fusionzoo.interface import Batch

BALANCES = ("none", "oversample", "weighted")
#: Images and volumes of a loader are kept in memory where they need no more than this, in MiB.
CACHE_MIB = 1024


class CaseLoader:
    """Goes through some cases of a data set in batches.

    Call `set_epoch` before each training epoch. Training shuffles and balances; evaluation keeps
    the order of `indices`. The last training batch is left out where it would hold a single case,
    which batch normalisation can't use. Of cases that come more than once in an epoch, each copy is
    augmented differently.

    Args:
        dataset: Where the cases are.
        indices: Rows of the data set to go through.
        encoders: One fitted encoder per table modality.
        batch_size: Cases per batch.
        seed: Of the order and the augmentation.
        train: Whether to shuffle and balance.
        augmentation: What may happen to the images of each modality; nothing where a modality is
            not named. Without `train`, the cases stay in order and are augmented all the same.
        balance: `oversample` repeats cases of smaller classes, each about equally often, up to the
            largest class; `weighted` draws as many cases as there are, with replacement, every
            class equally often on average. Cases without a label come once, or with the average
            weight.
        task: Whose classes are balanced; the first task where not given.
        num_workers: Threads that prepare batches ahead; 0 prepares each when it is asked for.
        cache_mib: Most memory that decoded images may take, in MiB; modalities that need more are
            read anew.
        modalities: Those to read; all of the data set's where not given.
        part: Which part of each batch to give, and how many parts there are, for processes that
            train one model together. A batch with fewer cases than parts gives its first case to
            those that would have none.

    Raises:
        BadOption: No such balance or task, no case, no batch size, or a table has no encoder.
    """

    def __init__(
        self,
        dataset: AbstractDataset,
        indices: np.ndarray,
        encoders: Mapping[str, TableEncoder],
        *,
        batch_size: int,
        seed: int = 0,
        train: bool = False,
        augmentation: Mapping[str, Augmentation | AugmentationChain] | None = None,
        balance: str = "none",
        task: str | None = None,
        num_workers: int = 0,
        cache_mib: int = CACHE_MIB,
        modalities: Collection[str] | None = None,
        part: tuple[int, int] = (0, 1),
    ):
        self.dataset = dataset
        self.indices = np.asarray(indices, dtype=np.int64)
        self.batch_size = batch_size
        self.seed = seed
        self.train = train
        self.augmentation = dict(augmentation or {})
        self.modalities = [
            m for m in dataset.spec.modalities if modalities is None or m.name in modalities
        ]
        self.balance = balance if train else "none"
        self.task = task or dataset.spec.tasks[0].name
        self.num_workers = num_workers
        self.part = part
        self._refuse(balance, encoders)
        self._present = {
            m.name: dataset.present(m.name)[self.indices] for m in dataset.spec.modalities
        }
        self._targets = {
            name: torch.from_numpy(np.asarray(codes)[self.indices].astype(np.int64))
            for name, codes in dataset.targets.items()
        }
        self._tables = {
            m.name: self._encode(m.name, encoders[m.name])
            for m in self.modalities
            if m.kind == "table"
        }
        self._images = self._allocate(cache_mib)
        self._filled = {name: np.zeros(len(self.indices), dtype=bool) for name in self._images}
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order and the augmentation of an epoch."""
        self.epoch = epoch
        count = len(self.indices)
        places = self._drawn(epoch) if self.train else np.arange(count)
        self._places, self._copies = places, _occurrence(places)
        if self.train:
            keys = case_keys(self.seed, epoch, self.indices[places], self._copies)
            shuffled = np.argsort(uniform(keys, 1, "order")[:, 0], kind="stable")
            self._places, self._copies = places[shuffled], self._copies[shuffled]

    def __len__(self) -> int:
        """Batches of this epoch."""
        count = len(self._places)
        lone = self.train and count % self.batch_size == 1 and count > 1
        return math.ceil(count / self.batch_size) - (1 if lone and self.batch_size > 1 else 0)

    def __iter__(self) -> Iterator[Batch]:
        """All batches of this epoch, in order."""
        return self.batches()

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """The batches of this epoch from number `start` on, for a run that was interrupted."""
        numbers = iter(range(start, len(self)))
        if not self.num_workers:
            yield from map(self.batch, numbers)
            return
        with ThreadPoolExecutor(self.num_workers) as pool:
            ahead: deque[Future[Batch]] = deque(
                pool.submit(self.batch, number) for number in islice(numbers, 2 * self.num_workers)
            )
            while ahead:
                ready = ahead.popleft().result()
                ahead.extend(pool.submit(self.batch, number) for number in islice(numbers, 1))
                yield ready

    def batch(self, number: int) -> Batch:
        """Batch `number` of this epoch, or this loader's part of it."""
        places, copies = (of[self._chosen(number)] for of in (self._places, self._copies))
        rows = self.indices[places]
        keys = case_keys(self.seed, self.epoch, rows, copies)
        inputs = {}
        for modality in self.modalities:
            name = modality.name
            if name in self._tables:
                inputs[name] = self._tables[name][places]
                continue
            x = self._read(name, places)
            if name in self.augmentation:
                x = augment(x, self.augmentation[name], keys, modality=name)
                x[torch.from_numpy(~self._present[name][places])] = 0
            inputs[name] = x
        return Batch(
            inputs=inputs,
            present={name: torch.from_numpy(mask[places]) for name, mask in self._present.items()},
            targets={name: codes[places] for name, codes in self._targets.items()},
            index=torch.from_numpy(rows),
        )

    def sizes(self, number: int) -> tuple[int, ...]:
        """Cases of each part of batch `number`; 0 for a part that got a case to go on with."""
        first = number * self.batch_size
        count = min(self.batch_size, len(self._places) - first)
        parts = self.part[1]
        return tuple(len(range(part, count, parts)) for part in range(parts))

    def _chosen(self, number: int) -> slice:
        """Where the cases of this loader's part of a batch are."""
        part, parts = self.part
        first = number * self.batch_size
        end = min(first + self.batch_size, len(self._places))
        return slice(first + part, end, parts) if first + part < end else slice(first, first + 1)

    def _refuse(self, balance: str, encoders: Mapping[str, TableEncoder]) -> None:
        tasks = [task.name for task in self.dataset.spec.tasks]
        without = [m.name for m in self.modalities if m.kind == "table" and m.name not in encoders]
        if balance not in BALANCES:
            raise BadOption(
                f"Classes can't be balanced by {balance!r}. Use one of: {', '.join(BALANCES)}."
            )
        if self.task not in tasks:
            raise BadOption(
                f"There is no task {self.task!r} to balance. The data set has: {', '.join(tasks)}."
            )
        if not len(self.indices):
            raise BadOption("There is no case to load: the list of rows is empty.")
        if self.batch_size < 1:
            raise BadOption(f"A batch of {self.batch_size} cases was asked for. Ask for 1 or more.")
        if without:
            raise BadOption(
                f"Table {without[0]!r} has no encoder. Give those of fit_encoders(dataset, train)."
            )

    def _drawn(self, epoch: int) -> np.ndarray:
        """Places in `indices` that an epoch goes through, repeats included, not yet shuffled."""
        count = len(self.indices)
        classes = self._targets[self.task].numpy()
        sizes = {
            code: int((classes == code).sum()) for code in np.unique(classes[classes >= 0]).tolist()
        }
        if self.balance == "none" or not sizes:
            return np.arange(count)
        if self.balance == "weighted":
            average = len(sizes) / sum(sizes.values())
            weights = np.array(
                [1 / sizes[code] if code >= 0 else average for code in classes.tolist()]
            )
            draws = uniform(case_keys(self.seed, epoch, np.arange(count)), 1, "weighted")[:, 0]
            upper = np.cumsum(weights)
            return np.minimum(np.searchsorted(upper, draws * upper[-1], side="right"), count - 1)
        places = [np.flatnonzero(classes < 0)]
        for code, size in sizes.items():
            own = np.flatnonzero(classes == code)
            rounds, rest = divmod(max(sizes.values()), size)
            rank = np.argsort(
                uniform(case_keys(self.seed, epoch, self.indices[own]), 1, "oversample")[:, 0]
            )
            places += [np.tile(own, rounds), own[rank[:rest]]]
        return np.concatenate(places)

    def _encode(self, name: str, encoder: TableEncoder) -> Tensor:
        """The encoded rows of one table, zeros where a case has none."""
        present = self._present[name]
        encoded = np.zeros((len(self.indices), encoder.columns.num_encoded), dtype=np.float32)
        frame = self.dataset.table(name).iloc[self.indices[present]]
        encoded[present] = encoder.transform(frame)
        return torch.from_numpy(encoded)

    def _allocate(self, cache_mib: int) -> dict[str, Tensor]:
        """Memory for the decoded images of each modality that fits in what is left of the cache."""
        left, images = cache_mib * 2**20, {}
        for modality in self.modalities:
            needed = 4 * len(self.indices) * math.prod(modality.shape)
            if modality.kind != "table" and needed <= left:
                left -= needed
                images[modality.name] = torch.zeros(len(self.indices), *modality.shape)
        return images

    def _read(self, name: str, places: np.ndarray) -> Tensor:
        """Images of some cases, from the cache where there is one; zeros where a case has none."""
        present = self._present[name]
        if name not in self._images:
            x = torch.zeros(len(places), *self.dataset.spec.modality(name).shape)
            for k in np.flatnonzero(present[places]):
                x[k] = torch.from_numpy(self.dataset.image(name, int(self.indices[places[k]])))
            return x
        filled = self._filled[name]
        for place in np.unique(places[present[places] & ~filled[places]]):
            image = self.dataset.image(name, int(self.indices[place]))
            self._images[name][place] = torch.from_numpy(image)
            filled[place] = True
        return self._images[name][torch.from_numpy(places)]


def _occurrence(values: np.ndarray) -> np.ndarray:
    """How often each value came before in the array."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    first = np.searchsorted(ordered, ordered, side="left")
    seen = np.empty_like(order)
    seen[order] = np.arange(len(values)) - first
    return seen


__all__ = ["CaseLoader"]
