"""Production queries: reading logs, removing personal data, merging duplicates, strata and sampling."""
