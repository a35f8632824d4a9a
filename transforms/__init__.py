"""The Beam stages, the values that they exchange, and the subjects that they build on."""
