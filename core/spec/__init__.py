"""What the user asked for: `RunSpec`, one frozen dataclass tree, one YAML file. No I/O but the codec's."""
