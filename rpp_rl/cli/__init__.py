"""The commands: the only place that reads configuration and knows the shipped specifications."""
