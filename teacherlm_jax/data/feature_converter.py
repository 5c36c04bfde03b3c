"""seqio's decoder features, with padding known by length."""

from collections.abc import Mapping
from typing import Any

import seqio
import tensorflow as tf


class DecoderFeatureConverter(seqio.FeatureConverter):
    """Inputs and targets -> decoder features, one example a row.

    seqio's own converter takes every token of id 0 for padding; in vocabularies where 0 is a
    real token (GPT-2's and Qwen's `!`) that drops tokens and loss. Here lengths decide: they are
    taken before padding, and padding is `decoder_segment_ids` = 0.
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

    def __init__(self, pack: bool = False, **settings: Any) -> None:
        """See seqio.FeatureConverter for the settings.

        Raises:
          ValueError: `pack` is True, as it is by default in seqio.
        """
        if pack:
            raise ValueError(
                "pack = True, but this converter puts one example into a row; leave it False."
            )
        super().__init__(pack=False, **settings)

    def _convert_features(
        self, ds: tf.data.Dataset, task_feature_lengths: Mapping[str, int]
    ) -> tf.data.Dataset:
        length = sum(task_feature_lengths[name] for name in self.TASK_FEATURES)

        def convert(example: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            tokens = tf.concat([example["inputs"], example["targets"]], axis=0)
            used = tf.size(tokens)
            shifted = tf.concat([[self._bos_id], tokens[:-1]], axis=0)[:used]
            is_target = tf.range(used) >= tf.size(example["inputs"])
            rows = {
                "decoder_target_tokens": tokens,
                "decoder_input_tokens": tf.cast(shifted, tf.int32),
                "decoder_loss_weights": tf.cast(is_target, tf.float32),
                "decoder_segment_ids": tf.ones([used], tf.int32),
                "decoder_positions": tf.range(used),
            }
            padded = {
                name: tf.ensure_shape(tf.pad(row, [[0, length - used]]), [length])
                for name, row in rows.items()
            }
            return {**padded, **{name: example[name] for name in self._passthrough_features}}

        return ds.map(convert, num_parallel_calls=tf.data.AUTOTUNE)

    def get_model_feature_lengths(
        self, task_feature_lengths: Mapping[str, int]
    ) -> Mapping[str, int]:
        """Every feature is as long as inputs and targets together."""
        length = sum(task_feature_lengths[name] for name in self.TASK_FEATURES)
        lengths = dict.fromkeys(self.MODEL_FEATURES, length)
        return {**lengths, **{n: task_feature_lengths[n] for n in self._passthrough_features}}
