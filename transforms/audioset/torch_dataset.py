"""Feature folders for PyTorch: the release's and own ones alike. The only module that imports torch.

dataset = FeatureDataset("features", shuffle_seed=0)
loader = torch.utils.data.DataLoader(dataset, batch_size=256, num_workers=2)
"""

from collections.abc import Iterator

import torch

from transforms.audioset.reading import NUM_CLASSES, NUM_FRAMES, ClipArrays, FeatureShards, read_clips


class FeatureDataset(torch.utils.data.IterableDataset):
    """Clips of a feature folder, or of one of its splits, as dicts that a DataLoader makes batches of.

    Each worker of a DataLoader, and each process of torch.distributed, reads shards of its own; so there
    should be more shards than they are.

    Args:
      folder: holds `SPLIT/*.tfrecord` or `*.tfrecord`, on any filesystem that TensorFlow knows.
      num_classes: of the list of labels; the release has 527.
      num_frames: what each clip is padded or cropped to.
      shuffle_seed: of the order of clips; None leaves them as they stand.
      raw: frames are raw embeddings, as of --postprocess=raw.

    Raises:
      SettingError: there is no shard, or its frames are of the other kind.
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
        """Gives clips another order; to be called before each pass, and without persistent workers."""
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
