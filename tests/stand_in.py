"""A network that takes no time, for runs of which files, counts and messages are tested, not embeddings."""

from collections.abc import Sequence

import numpy as np


class StandIn:
    """Replaces the network: returns the mean and the standard deviation of each band of an example."""

    def embed_clips(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [np.concatenate([e.mean(1), e.std(1)], 1).astype(np.float32) for e in clips]
