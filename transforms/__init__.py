"""The Beam stages, the values that they exchange, and the subjects that they build on."""

from transforms.homes import redirect_caches

redirect_caches()  # before any library is imported that looks for a home
