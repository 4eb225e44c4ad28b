import pytest

from kubeloop.site import laptop


@pytest.fixture
def site(tmp_path):
    return laptop(tmp_path / "home")
