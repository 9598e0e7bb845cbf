"""The domain of Flywheel: what a data point is, where it lies, how it becomes a label, a dataset and a router.

Nothing in here knows Dagster or a server of ours; what stands above imports this package, never the reverse.
"""
