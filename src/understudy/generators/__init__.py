"""What turns a trained student's prompts into text: one file for each engine, and the gate before them.

transformers is the reference. Any other engine, and any other number format, is first measured against it
on questions that are no test questions: see `parity`.
"""
