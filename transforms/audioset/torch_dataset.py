"""Loads feature folders, released or computed, for PyTorch. The only module that always imports torch.

dataset = FeatureDataset("features", shuffle_seed=0)
loader = torch.utils.data.DataLoader(dataset, batch_size=256, num_workers=2)
"""

from collections.abc import Iterator

import torch

from transforms.audioset.reading import NUM_CLASSES, NUM_FRAMES, ClipArrays, FeatureShards, read_clips


class FeatureDataset(torch.utils.data.IterableDataset):
    """The clips of a feature folder, or of one of its splits, as dicts that a DataLoader puts into batches.

    Each DataLoader worker of each torch.distributed process reads different shards. There should therefore be
    more shards than workers in total. Arguments and errors are those of `dataset.load_dataset`, and the dicts
    those of `reading.read_clips`.
    """

    def __init__(
        self,
        folder: str,
        num_classes: int = NUM_CLASSES,
        num_frames: int = NUM_FRAMES,
        shuffle_seed: int | None = None,
        raw: bool = False,
    ):
        super().__init__()
        self._shards = FeatureShards.find(folder, raw)
        self._num_classes, self._num_frames = num_classes, num_frames
        self._seed = shuffle_seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Change the order of clips. Call it before each epoch; it has no effect on persistent workers."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[ClipArrays]:
        worker = torch.utils.data.get_worker_info()
        number, count = (worker.id, worker.num_workers) if worker else (0, 1)
        distributed = torch.distributed
        if distributed.is_available() and distributed.is_initialized():
            number += distributed.get_rank() * count
            count *= distributed.get_world_size()
        shuffle = None if self._seed is None else (self._seed, self._epoch)
        return read_clips(self._shards, self._num_classes, self._num_frames, shuffle, number, count)
