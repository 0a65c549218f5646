# make check: format, lint, types, imports and the fast tests, in under a minute.
.PHONY: check
check:
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/python -m pytest -q -m "not kernel and not e2e" tests
