import pytest
from feature_clips import CLIPS, check, many, write

from transforms.errors import SettingError

torch = pytest.importorskip("torch")


def test_torch_reads_the_same(tmp_path):
    from transforms.audioset.torch_dataset import FeatureDataset

    write(tmp_path, CLIPS | many(40))
    dataset = FeatureDataset(str(tmp_path), shuffle_seed=3)
    for num_workers in (0, 2):
        loader = torch.utils.data.DataLoader(dataset, batch_size=7, num_workers=num_workers)
        batches = list(loader)
        assert batches[0]["embeddings"].shape == (7, 10, 128) and batches[0]["labels"].dtype == torch.float32
        clips = {}
        for batch in batches:
            for number, name in enumerate(batch["video_id"]):
                assert name not in clips
                clips[name] = {key: values[number] for key, values in batch.items() if key != "video_id"}
                clips[name] = {key: value.numpy() for key, value in clips[name].items()}
        check(clips, CLIPS | many(40))
    first = [
        name for batch in torch.utils.data.DataLoader(dataset, batch_size=7) for name in batch["video_id"]
    ]
    dataset.set_epoch(1)
    second = [
        name for batch in torch.utils.data.DataLoader(dataset, batch_size=7) for name in batch["video_id"]
    ]
    assert first != second and sorted(first) == sorted(second)


def test_ranks_and_workers_share_the_shards(tmp_path, monkeypatch):
    from transforms.audioset.torch_dataset import FeatureDataset

    write(tmp_path, many(10))
    distributed = torch.distributed
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
    found = []
    for rank in range(2):
        monkeypatch.setattr(distributed, "get_rank", lambda rank=rank: rank)
        found.append([clip["video_id"] for clip in FeatureDataset(str(tmp_path))])
    assert found == [[f"{n:02d}x" for n in range(first, 10, 2)] for first in (0, 1)]


def test_a_folder_without_shards_is_refused_at_once(tmp_path):
    from transforms.audioset.torch_dataset import FeatureDataset

    with pytest.raises(SettingError, match="contains no"):
        FeatureDataset(str(tmp_path))
