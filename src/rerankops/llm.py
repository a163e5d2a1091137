"""Talking to a language model over the OpenAI-compatible HTTP protocol."""
