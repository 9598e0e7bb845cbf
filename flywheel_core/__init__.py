"""The domain of Flywheel: what a data point is, where it is stored, how it becomes a label, a dataset and a router.

Nothing here depends on Dagster or on Flywheel's own servers: they import this package, never the reverse.
"""
