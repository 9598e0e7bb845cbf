"""The gateway: an OpenAI-compatible front door that routes requests, and collects without delaying anyone."""
