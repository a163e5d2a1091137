"""rerankops keeps a production reranker good: from live queries to a champion promoted on evidence."""

__version__ = "0.1.0"
