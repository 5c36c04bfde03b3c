"""The catalogue of data sets: importing it defines all of them, and reads none."""

from teacherlm_jax.tasks.catalogue import closed_book_qa as closed_book_qa
from teacherlm_jax.tasks.catalogue import math as math
from teacherlm_jax.tasks.catalogue import nli as nli
from teacherlm_jax.tasks.catalogue import structure_to_text as structure_to_text
from teacherlm_jax.tasks.catalogue import summarization as summarization
from teacherlm_jax.tasks.catalogue import text_formatting as text_formatting
from teacherlm_jax.tasks.catalogue import translation as translation
