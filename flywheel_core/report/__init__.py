"""Charts and pages for people to read."""
