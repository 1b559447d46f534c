"""Everything a training does around the learning: its folder, environments, evaluations, checkpoints and packing."""
