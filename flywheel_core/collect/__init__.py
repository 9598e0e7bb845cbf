"""From a user's request to an uploaded data point: sample, ask every model, score, upload."""
