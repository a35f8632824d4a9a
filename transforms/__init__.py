"""Beam stages, each a verb, over three rooms that know their subject: audio, vggish and audioset."""
