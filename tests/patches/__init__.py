"""dulwich as a whole on reftable repositories: installed, and with our Repo handed to it."""

import pytest

pytest.register_assert_rewrite(f"{__name__}.sides")
