"""What residual pathway priors do outside reinforcement learning: section 5 of arXiv:2112.01388.

A study is a list of jobs, each of which trains one kind of model on one case, all trials as one ensemble. Its results
are rows of a CSV file, from which figures and tables are drawn without training anything.

- `study`: what a study is, and how it is run, interrupted and continued.
- `training`: fitting an ensemble, and the prior in the paper's terms.
- `inertia`, `pendulum`, `prior`, `posterior`, `uci`, `digits`, `cifar10`: the studies.
"""
