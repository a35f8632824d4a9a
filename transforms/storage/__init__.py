"""Files on any filesystem that Beam knows: find, read, write whole or not at all."""
