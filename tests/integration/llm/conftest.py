from llm_server import llm_server

__all__ = ["llm_server"]
