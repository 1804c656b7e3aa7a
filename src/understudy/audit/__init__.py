"""What the data and the rationales of a run are worth: one file for each question that an audit asks."""
