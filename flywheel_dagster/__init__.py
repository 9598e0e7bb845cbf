"""Flywheel in Dagster: which assets there are, when they are made, what is checked. No domain logic lives here."""
