"""Examples: one script a measurement model, each with a picture and a record of its verdicts."""
