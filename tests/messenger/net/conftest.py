from __future__ import annotations

import pytest

from tests.support.net_rig import Kind, kinds


@pytest.fixture(params=sorted(kinds()))
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each implementation of the transport in turn."""
    return kinds()[request.param]()
