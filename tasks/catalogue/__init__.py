"""The catalogue of data sets: importing it defines all of them, and reads none."""

from teacherlm_jax.tasks.catalogue import closed_book_qa as closed_book_qa
from teacherlm_jax.tasks.catalogue import common_sense as common_sense
from teacherlm_jax.tasks.catalogue import commonsense_qa as commonsense_qa
from teacherlm_jax.tasks.catalogue import conversation as conversation
from teacherlm_jax.tasks.catalogue import coreference as coreference
from teacherlm_jax.tasks.catalogue import creak as creak
from teacherlm_jax.tasks.catalogue import ecqa as ecqa
from teacherlm_jax.tasks.catalogue import encyclopedia as encyclopedia
from teacherlm_jax.tasks.catalogue import extractive_qa as extractive_qa
from teacherlm_jax.tasks.catalogue import logiqa as logiqa
from teacherlm_jax.tasks.catalogue import math as math
from teacherlm_jax.tasks.catalogue import math_qa as math_qa
from teacherlm_jax.tasks.catalogue import mmlu as mmlu
from teacherlm_jax.tasks.catalogue import multiple_choice_qa as multiple_choice_qa
from teacherlm_jax.tasks.catalogue import nli as nli
from teacherlm_jax.tasks.catalogue import open_questions as open_questions
from teacherlm_jax.tasks.catalogue import opinions as opinions
from teacherlm_jax.tasks.catalogue import paraphrase as paraphrase
from teacherlm_jax.tasks.catalogue import reading_comprehension as reading_comprehension
from teacherlm_jax.tasks.catalogue import sentiment as sentiment
from teacherlm_jax.tasks.catalogue import strategyqa as strategyqa
from teacherlm_jax.tasks.catalogue import structure_to_text as structure_to_text
from teacherlm_jax.tasks.catalogue import summarization as summarization
from teacherlm_jax.tasks.catalogue import text_formatting as text_formatting
from teacherlm_jax.tasks.catalogue import translation as translation
from teacherlm_jax.tasks.catalogue import words as words
