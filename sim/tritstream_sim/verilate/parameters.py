"""What a bench is told by the runner: the build's numbers and the parameters of the run.

Passed through the environment, because the bench runs inside the simulator's process.
"""

import json
import os
from typing import Any

from tritstream.build import BuildConfig

__all__ = ["build_config", "environment", "parameters"]

CONFIG, PARAMETERS = "TRITSTREAM_CONFIG", "TRITSTREAM_PARAMETERS"


def environment(config: BuildConfig | None, values: dict[str, Any]) -> dict[str, str]:
    """Return the variables from which `build_config` and `parameters` read."""
    variables = {PARAMETERS: json.dumps(values)}
    return variables if config is None else {CONFIG: config.to_json(), **variables}


def build_config() -> BuildConfig:
    """Return the configuration that the component under test was built with."""
    return BuildConfig.from_json(os.environ[CONFIG])


def parameters() -> dict[str, Any]:
    """Return the other keyword arguments of `runner.simulate`, as JSON gives them back."""
    return json.loads(os.environ[PARAMETERS])
