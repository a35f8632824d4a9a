"""The VGGish model: its numbers, its network, its weights and its postprocessing. Never imports Beam."""
