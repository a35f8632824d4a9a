"""What a person types and sees: options, a YAML of them, messages, progress."""
