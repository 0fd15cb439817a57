"""Scores, cross-validation, and the evaluations that are a system's own."""

OWN_EVALUATION = {"doc-net": "myoscope.evaluate.doc_net"}
"""Systems that the common cross-validation of label maps (`crossval`) does not fit, and where theirs is."""
