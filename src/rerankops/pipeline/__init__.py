"""The steps: one function a DAG task, callable from the command line too.

A step takes addresses and small values, reads the workspace, calls rooms with values, publishes and returns an
address. It is the only place that knows both the workspace and a room. Modules here import no heavy library at their
top, so that a task loads only what it uses.
"""
