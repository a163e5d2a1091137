"""Gold questions as a workflow: drawn, answered by two people apart, settled by a third, frozen in versions. Pure."""
