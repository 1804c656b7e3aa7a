"""What can be wrong with a rationale, found from its text alone: one file for each question that is asked."""
