"""Beam stages, each a verb, over three rooms that know their subject: audio, vggish and audioset."""

from transforms.homes import redirect_caches

redirect_caches()  # before any library is imported that looks for a home
