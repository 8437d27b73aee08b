"""The command line: a file for each group of verbs. It knows every room and holds no logic."""

from bridge.cli import (  # noqa: F401 the verbs, in the order of the workflow
    verbs_bundle,
    verbs_cells,
    verbs_correct,
    verbs_files,
    verbs_machine,
    verbs_models,
    verbs_runs,
    verbs_steps,
)
from bridge.cli.main import app, main

__all__ = ["app", "main"]
