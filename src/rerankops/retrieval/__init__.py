"""First stage: passages to vectors and indexes, queries to 20 to 30 fused candidates."""
