"""The VGGish model: parameters, network, weights and postprocessing. Never imports Beam."""
