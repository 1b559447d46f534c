"""``train-sac``: soft actor-critic with the symmetry of the robot as a soft prior."""

import shlex
import sys
from collections.abc import Sequence

from rpp_rl.cli.arguments import RESUMABLE, flags_from, settings_from, train_sac_parser
from rpp_rl.cli.errors import command
from rpp_rl.io.border import UserError
from rpp_rl.io.run_folder import RunFolder
from rpp_rl.sac.config import SACConfig


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Read the flags, train, and return the status for the shell."""
    args = train_sac_parser().parse_args(argv)
    if args.resume and args.resume_agent:
        raise UserError("--resume continues a run, --resume-agent trains an agent further: give one of them")
    if args.resume_agent and args.conf_file:
        raise UserError("--resume-agent keeps the agent's own settings, so --conf-file cannot be given with it")
    folder = RunFolder.open(args.resume) if args.resume else None
    # A mistake in the settings is found before torch is imported, which takes seconds.
    config = None if args.resume_agent else settings_from(args, folder, SACConfig, RESUMABLE)

    from rpp_rl.agents import load_agent
    from rpp_rl.runs.environments import require_asked
    from rpp_rl.runs.further_training import continued_settings
    from rpp_rl.runs.train_sac import train_sac

    source = None
    if config is None:
        source = load_agent(args.resume_agent, device="cpu")
        config = continued_settings(flags_from(args, SACConfig), source)
    elif args.conf_file:
        require_asked(config.env, flags_from(args, SACConfig).get("env"), args.conf_file)
    run = train_sac(
        config,
        folder,
        source=source,
        force_spec=args.force_spec,
        command_line=shlex.join(["train-sac", *(sys.argv[1:] if argv is None else argv)]),
        progress=args.progress and sys.stderr.isatty(),
        verbose=args.verbose,
    )
    return run.status
