"""seqio's decoder features, with padding known by length."""

from collections.abc import Mapping
from typing import Any

import seqio
import tensorflow as tf

_TOKENS = ("decoder_target_tokens", "decoder_input_tokens")


class DecoderFeatureConverter(seqio.FeatureConverter):
    """Inputs and targets -> decoder features; several examples a row where it packs.

    seqio's own converter takes every token of id 0 for padding; in vocabularies where 0 is a
    real token (GPT-2's and Qwen's `!`) that drops tokens and loss. Here lengths decide: they are
    taken before padding, and padding is `decoder_segment_ids` = 0.

    Packing is seqio's: consecutive examples, inputs and targets of one together, fill a row of
    both features' lengths as long as they fit whole; each is a segment (1, 2, ...), with positions
    and BOS of its own.
    """

    TASK_FEATURES = {
        "inputs": seqio.FeatureConverter.FeatureSpec(dtype=tf.int32),
        "targets": seqio.FeatureConverter.FeatureSpec(dtype=tf.int32),
    }
    MODEL_FEATURES = {
        "decoder_target_tokens": seqio.FeatureConverter.FeatureSpec(dtype=tf.int32),
        "decoder_input_tokens": seqio.FeatureConverter.FeatureSpec(dtype=tf.int32),
        "decoder_loss_weights": seqio.FeatureConverter.FeatureSpec(dtype=tf.float32),
        "decoder_segment_ids": seqio.FeatureConverter.FeatureSpec(dtype=tf.int32),
        "decoder_positions": seqio.FeatureConverter.FeatureSpec(dtype=tf.int32),
    }
    PACKING_FEATURE_DTYPES: Mapping[str, tf.dtypes.DType] = {}

    def __init__(self, pack: bool = False, bos_id: int | None = 0, **settings: Any) -> None:
        """Configures.

        Args:
          pack: several examples a row. False, other than seqio's default.
          bos_id: the decoder's input before an example's first token. seqio's 0 where it is not
            given, whatever the vocabulary: hand in `vocabulary.bos_id`, or what the model was
            trained with. None (BLOOM): as in `RowFormat`, the first token is context alone, so a
            row holds a token less of each example, and that token carries no loss.
          **settings: those of seqio.FeatureConverter. With apply_length_check=False, an example
            longer than a row is cut at the row's end if rows are packed, as seqio does, and an
            error if not; with True (the default) a feature longer than its length is an error
            either way. `seqio.get_dataset` trims features before that.
        """
        super().__init__(pack=pack, bos_id=bos_id, **settings)

    def _convert_features(
        self, ds: tf.data.Dataset, task_feature_lengths: Mapping[str, int]
    ) -> tf.data.Dataset:
        length = sum(task_feature_lengths[name] for name in self.TASK_FEATURES)
        if self.pack:
            # seqio takes 0 for padding: all that it packs is 1 or more.
            rows = ds.map(self._shifted_row, num_parallel_calls=tf.data.AUTOTUNE)
            names = (*_TOKENS, "decoder_loss_weights")
            packed = self._pack_or_pad(rows, dict.fromkeys(names, length))
            return packed.map(_unpacked_features, num_parallel_calls=tf.data.AUTOTUNE)

        def convert(example: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            row = self._row(example)
            used = tf.size(row["decoder_target_tokens"])
            row["decoder_segment_ids"] = tf.ones([used], tf.int32)
            row["decoder_positions"] = tf.range(used)
            padded = {
                name: tf.ensure_shape(tf.pad(values, [[0, length - used]]), [length])
                for name, values in row.items()
            }
            return {**padded, **{name: example[name] for name in self._passthrough_features}}

        return ds.map(convert, num_parallel_calls=tf.data.AUTOTUNE)

    def _row(self, example: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One example's targets, inputs and weights, as long as they are."""
        tokens = tf.concat([example["inputs"], example["targets"]], axis=0)
        is_target = tf.range(tf.size(tokens)) >= tf.size(example["inputs"])
        if self._bos_id is None:
            shifted, tokens, is_target = tokens[:-1], tokens[1:], is_target[1:]
        else:
            shifted = tf.concat([[self._bos_id], tokens[:-1]], axis=0)[: tf.size(tokens)]
        return {
            "decoder_target_tokens": tokens,
            "decoder_input_tokens": tf.cast(shifted, tf.int32),
            "decoder_loss_weights": tf.cast(is_target, tf.float32),
        }

    def _shifted_row(self, example: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {name: tf.cast(values, tf.int32) + 1 for name, values in self._row(example).items()}

    def get_model_feature_lengths(
        self, task_feature_lengths: Mapping[str, int]
    ) -> Mapping[str, int]:
        """Every feature is as long as inputs and targets together."""
        length = sum(task_feature_lengths[name] for name in self.TASK_FEATURES)
        lengths = dict.fromkeys(self.MODEL_FEATURES, length)
        return {**lengths, **{n: task_feature_lengths[n] for n in self._passthrough_features}}


def _unpacked_features(packed: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """What seqio packed, a 1 taken off again where there is a token."""
    segment_ids = packed["decoder_target_tokens_segment_ids"]
    is_token = tf.cast(segment_ids > 0, tf.int32)
    weights = packed["decoder_loss_weights"] - is_token
    return {
        **{name: packed[name] - is_token for name in _TOKENS},
        "decoder_loss_weights": tf.cast(weights, tf.float32),
        "decoder_segment_ids": segment_ids,
        "decoder_positions": packed["decoder_target_tokens_positions"],
    }
