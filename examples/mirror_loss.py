"""A loss of your own: plain networks, whose actor is drawn towards the mirror images of its own actions."""

from rpp_rl import RPPSAC


class MirrorSAC(RPPSAC):
    """SAC whose actor also minimises |π(g s) - g π(s)|², with a random element g of the group for every state s."""

    weight = 1.0

    def actor_loss(self, batch, actions, log_prob, ent_coef):
        images = self.group_action.images(batch.observations)
        of_states, of_images = (
            self.actor.get_action_dist_params(obs)[0].tanh() for obs in (batch.observations, images.observations)
        )
        asymmetry = (of_images - images.of_actions(of_states)).square().sum(1).mean()
        self.asymmetry = asymmetry.item()
        return super().actor_loss(batch, actions, log_prob, ent_coef) + self.weight * asymmetry


for weight in (0.0, 1.0):
    agent = MirrorSAC("Walker2d-v5", spec="Z2", mode="mlp", learning_starts=100, seed=0)
    agent.weight = weight
    agent.learn(400)
    print(f"weight {weight}: asymmetry {agent.asymmetry:.4f}")
