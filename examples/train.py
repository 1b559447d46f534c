"""Train an agent with the symmetry of its robot as a soft prior, save it, and act with it."""

import envs_reps
from rpp_rl.sac import RPPSAC, SymmetryCallback

spec = envs_reps.load("Walker2d-v5")  # the legs change places
agent = RPPSAC("RPPPolicy", "Walker2d-v5", learning_starts=300, policy_kwargs={"spec": spec.to_dict()})
agent.learn(500, callback=SymmetryCallback())
agent.save("walker2d.zip")

agent = RPPSAC.load("walker2d.zip")
action, _ = agent.predict(agent.observation_space.sample(), deterministic=True)
print("action", action.round(2))
