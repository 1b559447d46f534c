"""Learn a model of the Swimmer from random actions, and control the real robot by planning in the model."""

import gymnasium
import numpy as np

import envs_reps
from envs_reps.tasks import task
from rpp_rl.dynamics import Episodes, ModelEnv, Planner, TransitionModel
from rpp_rl.dynamics.training import Trainer
from rpp_rl.dynamics.trajectories import split

N_TRANSITIONS, N_EPOCHS, N_STEPS = 2000, 5, 10  # enough to see it run; for good plans take 15 000, 60 and 200

robot = gymnasium.make("Swimmer-v5")
robot.action_space.seed(0)
episodes = []
for seed in range(N_TRANSITIONS // 200):
    states, actions = [robot.reset(seed=seed)[0]], []
    for _ in range(200):
        actions.append(robot.action_space.sample())
        states.append(robot.step(actions[-1])[0])
    episodes.append((np.float32(states), np.float32(actions)))
data = Episodes(tuple(s for s, _ in episodes), tuple(a for _, a in episodes), "Swimmer-v5")
train, _, test = split(data, n_chunks=150, chunk_length=10, n_test=2, test_length=100, seed=0)

model = TransitionModel(envs_reps.load("Swimmer-v5", "Z2xZ2"), widths=(64, 64))
trainer = Trainer(model, train, test, batch_size=50, n_epochs=N_EPOCHS)
for _ in range(N_EPOCHS):
    trainer.run_epoch()
    print(f"epoch {trainer.epoch}: error of rollouts, training and test {trainer.history[-1, [0, 2]].round(3)}")

swim = task("Swimmer-v5")  # reward and termination as functions of observations
envs = ModelEnv(
    model, test.states[:, 0], robot.action_space, reward=swim.reward, terminated=swim.terminated, num_envs=64
)
envs.reset(seed=0)
planner = Planner(envs, horizon=10)
obs, _ = robot.reset(seed=0)
total = 0.0
for _ in range(N_STEPS):
    obs, reward, *_ = robot.step(planner(obs).astype(np.float32))
    total += float(reward)
print(f"return of {N_STEPS} planned steps: {total:.2f}")
