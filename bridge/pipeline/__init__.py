"""The steps over all fields: preflight, run, resume, results folder, single verbs, corrections."""
