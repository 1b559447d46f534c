"""What only the tests of the algebra need."""

import jaxtyping
import pytest


@pytest.fixture
def unchecked_shapes(monkeypatch):
    """Switches the runtime check of shape annotations off, as it is for users, who must get a clear error too."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
