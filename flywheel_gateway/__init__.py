"""The gateway: an OpenAI-compatible front door that routes, and collects without delaying anybody."""
