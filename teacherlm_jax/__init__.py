"""TeacherLM in JAX: teach small language models to explain, not only to answer.

A pure-JAX implementation of TeacherLM (He et al. 2023, arXiv 2310.19019): train a teacher that
writes fundamentals, chains of thought and common mistakes, annotate questions with it, train
students on the annotated questions, and evaluate them by rank classification.

Importing the package loads nothing else; each subpackage imports what it needs.
"""

__version__ = "0.1.0"
