"""What a person runs. Assembles the transforms, computes nothing itself."""
