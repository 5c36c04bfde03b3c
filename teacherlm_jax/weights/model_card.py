"""The model card and the licence that go beside exported weights."""

import dataclasses
import re

import teacherlm_jax

_FRONT_MATTER = re.compile(r"\A---\r?\n(.*?)\r?\n---\r?\n", re.DOTALL)
# A value, with quotes or not, or the first item of a list.
_LICENSE = re.compile(r"^license:\s*(?:-\s*|\[\s*)?[\"']?([\w.+-]+)", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Card:
    """What a model card says.

    Attributes:
      family: model_type.
      architecture: class of transformers.
      parameters: how many scalars.
      dtype: of most tensors.
      source_card: the card of the model that was imported; empty where there was none.
      license_id: as "apache-2.0"; None: that of the source's card, where it has one.
    """

    family: str
    architecture: str
    parameters: int
    dtype: str
    source_card: str
    license_id: str | None

    @property
    def license(self) -> str | None:
        """The licence's identifier, if it is known."""
        if self.license_id is not None:
            return self.license_id
        front = _FRONT_MATTER.match(self.source_card)
        found = _LICENSE.search(front[1]) if front else None
        return found[1] if found else None


def text(card: Card) -> str:
    """The model card, as Markdown with the front matter that model hubs read."""
    license_id = card.license or "other"
    parts = [
        "---",
        f"license: {license_id}",
        "library_name: transformers",
        "pipeline_tag: text-generation",
        "tags:",
        "- teacherlm_jax",
        f"- {card.family}",
        "---",
        "",
        f"# {card.architecture}, exported by teacherlm_jax",
        "",
        f"{card.parameters:,} parameters, in {card.dtype} but for tensors that came in another "
        f"type, written by teacherlm_jax {teacherlm_jax.__version__}.",
        "",
        "```python",
        "from transformers import AutoModelForCausalLM",
        "",
        'model = AutoModelForCausalLM.from_pretrained("FOLDER")',
        "```",
        "",
        f"Licence: {card.license or 'not known to the exporter'}; see LICENSE.",
    ]
    if card.source_card:
        body = _FRONT_MATTER.sub("", card.source_card, count=1).strip()
        parts += ["", "## The card of the model that it was imported from", "", body]
    return "\n".join(parts) + "\n"


def unknown_license(card: Card) -> str:
    """What stands in LICENSE where no licence's text came with the weights."""
    named = (
        f"The model card names the licence {card.license!r}; its text was not with the weights."
        if card.license
        else "No licence came with the weights that this model was made from, nor was one given."
    )
    return (
        f"{named}\nThe rights of whoever made those weights hold for this copy too: find out their "
        "terms\nbefore you use or share it.\n"
    )
