"""Experiments: runs of several arms, environments and seeds, started, read back and compared with sound statistics."""
