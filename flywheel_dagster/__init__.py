"""Flywheel's Dagster project: its assets, checks, schedules and sensors. Contains no domain logic."""
