"""Talking to a language model over the OpenAI-compatible HTTP protocol: in parallel, patiently, within a budget, and
paying for no answer twice."""

from rerankops.llm.asking import Answer, Budget, Cache, Form, Message, NoAnswer, Prompt, estimated_tokens
from rerankops.llm.client import API_KEY, Client

__all__ = [
    "API_KEY",
    "Answer",
    "Budget",
    "Cache",
    "Client",
    "Form",
    "Message",
    "NoAnswer",
    "Prompt",
    "estimated_tokens",
]
