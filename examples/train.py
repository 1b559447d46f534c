"""Train an agent with the symmetry of its robot as a soft prior, save it, and act with it."""

from rpp_rl import RPPSAC
from rpp_rl.sac import SymmetryCallback

agent = RPPSAC("Ant-v4", spec="D4", learning_starts=300)  # quarter turns of the legs, left/right
agent.learn(500, callback=SymmetryCallback())
agent.save("ant.zip")

agent = RPPSAC.load("ant.zip")
action, _ = agent.predict(agent.observation_space.sample(), deterministic=True)
print("action", action.round(2))
