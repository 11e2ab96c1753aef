"""The experiment: every method × gradient on the same matrices, with accuracy, memory and speed.

Modules: `cases` (the matrices), `reference` (what is true), `measure` (one row), `report` (table and
JSON), `plot` (the picture) and `command` (`sqrtm compare`). Needs the extra ``sqrtm[compare]``.
"""
