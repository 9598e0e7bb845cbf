"""What both servers share: keys, limits, life cycle and metrics."""
