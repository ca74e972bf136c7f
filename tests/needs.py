"""What a test needs from the machine: a compiler, a browser, real archives."""

import os


def required(what: str) -> bool:
    """Whether this need (`compiler`, `chromium`, `data`) must be met, as in CI, instead of letting the test skip."""
    return what in os.environ.get("CNN_JAX_TEST_REQUIRE", "").split(",")
