"""What a specification is worth in the environment of a training: trust in a symmetry follows its measured error."""

from contextlib import closing

from rpp_rl.derive import check_robot
from rpp_rl.envs.check import with_measurements
from rpp_rl.envs.simulator import is_settable
from rpp_rl.envs.spec import EnvSpec, percent
from rpp_rl.envs.statistical import check_statistically, with_estimates
from rpp_rl.io.border import UserError
from rpp_rl.runs.callbacks import report
from rpp_rl.runs.environments import make_env
from rpp_rl.sac.config import SACConfig

N_STATES = 20
"""States in which a specification is measured."""


def measured_spec(config: SACConfig, spec: EnvSpec, *, force: bool) -> EnvSpec:
    """The specification with errors of this very environment, where it was not measured in it.

    That is a specification from a file, and any in an environment with arguments, such as a payload. Where no state of
    the environment can be chosen, its transitions tell. One from a file that is wrong is refused unless forced; one
    that cannot be checked is told.

    Args:
        config: Settings of the training.
        spec: The specification.
        force: Whether to take it though it is wrong.

    Raises:
        UserError: If the specification is wrong.
    """
    if not (config.uses_group and (config.spec or config.env_kwargs)):
        return spec
    what = f"the specification{f' in {config.spec}' if config.spec else ''}"
    with closing(make_env(config.env, config.env_kwargs)) as env:
        try:
            if is_settable(env):
                checks, estimates = check_robot(spec, env, n_states=N_STATES), ()
            else:
                checks, estimates = (), check_statistically(spec, env)
        except ValueError as error:
            report(f"{what} was not checked: {error}")
            return spec
    for check in (*checks, *estimates):
        if check.refutation and config.spec and not force:
            judge = "the simulator refutes" if checks else "its transitions refute"
            raise UserError(
                f"{config.spec}: {judge} the symmetry {check.generator}: {check.refutation}; mend it "
                "(check-spec says more), or train with it anyway by --force-spec"
            )
    for check in estimates:
        found = f"{check.verdict}, the error on images is {percent(check.image_error)}"
        found = "they do not decide it" if check.verdict == "undecided" else found
        report(f"{what} was compared with {check.n_transitions} transitions: {check.generator}: {found}")
    return with_measurements(spec, checks) if checks else with_estimates(spec, estimates)
