"""The one error of this folder: why an agent cannot be loaded."""

from rpp_rl.io.border import UserError


class AgentError(UserError):
    """An agent's file is missing, damaged, foreign or of another version; the text says what to do."""
