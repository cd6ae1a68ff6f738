"""Entries of a Hugging Face configuration that frames depend on: all but those known not to matter.

A list of the entries that matter would be shorter, but an entry that a new family brings would be missing from it,
and wrong features be taken for right ones. An entry that is missing here makes right ones be refused, and the message
names it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

#: Origin of a model, and the format of its weights file.
_ORIGIN = (
    "transformers_version",
    "_name_or_path",
    "_commit_hash",
    "architectures",
    "auto_map",
    "custom_pipelines",
    "dtype",
    "torch_dtype",
)
#: Use of the hidden states: classes, tokens, losses and heads, none of which the upstream has.
_BEHIND = (
    "id2label",
    "label2id",
    "num_labels",
    "problem_type",
    "finetuning_task",
    "task_specific_params",
    "vocab_size",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "sep_token_id",
    "tokenizer_class",
    "prefix",
    "return_dict",
    "output_attentions",
    "output_hidden_states",
    "use_weighted_layer_sum",
    "classifier_proj_size",
    "tdnn_dim",
    "tdnn_kernel",
    "tdnn_dilation",
    "xvector_output_dim",
    "ctc_loss_reduction",
    "ctc_zero_infinity",
    "num_ctc_classes",
    "replace_prob",
    "num_clusters",
    "num_codevectors_per_group",
    "num_codevector_groups",
    "contrastive_logits_temperature",
    "num_negatives",
    "codevector_dim",
    "proj_codevector_dim",
    "diversity_loss_weight",
)
#: Whisper's decoder and how text is generated: the upstream is the encoder.
_DECODER = (
    "use_cache",
    "is_decoder",
    "is_encoder_decoder",
    "add_cross_attention",
    "cross_attention_hidden_size",
    "tie_word_embeddings",
    "tie_encoder_decoder",
    "max_target_positions",
    "median_filter_width",
    "suppress_tokens",
    "begin_suppress_tokens",
    "forced_decoder_ids",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "max_length",
    "min_length",
    "max_new_tokens",
    "do_sample",
    "early_stopping",
    "num_beams",
    "num_beam_groups",
    "diversity_penalty",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
    "repetition_penalty",
    "length_penalty",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "bad_words_ids",
    "num_return_sequences",
    "output_scores",
    "return_dict_in_generate",
    "remove_invalid_values",
    "exponential_decay_length_penalty",
)
_DECODER_PREFIX = "decoder_"
#: Entries of training: fine-tuning depends on them, evaluation does not.
TRAINING = (
    "dropout",
    "activation_dropout",
    "attention_dropout",
    "hidden_dropout",
    "feat_proj_dropout",
    "feat_extract_dropout",
    "feat_quantizer_dropout",
    "conformer_conv_dropout",
    "final_dropout",
    "classifier_dropout",
    "layerdrop",
    "encoder_layerdrop",
    "gradient_checkpointing",
    "initializer_range",
    "initializer_factor",
    "init_std",
    "apply_spec_augment",
    "mask_time_prob",
    "mask_time_length",
    "mask_time_min_masks",
    "mask_feature_prob",
    "mask_feature_length",
    "mask_feature_min_masks",
)
#: Entries of a feature extractor on which classes belong together, and how its file is read.
_EXTRACTOR = ("processor_class", "feature_extractor_type", "auto_map", "_commit_hash", "transformers_version")


def frame_settings(config: Mapping[str, Any], extractor: Mapping[str, Any]) -> dict[str, Any]:
    """Entries that frames in evaluation mode depend on, by name (``config.layer_norm_eps``)."""
    ignored = {*_ORIGIN, *_BEHIND, *_DECODER, *TRAINING}
    found = {
        f"config.{key}": value
        for key, value in config.items()
        if key not in ignored and not key.startswith(_DECODER_PREFIX)
    }
    return found | {f"extractor.{key}": value for key, value in extractor.items() if key not in _EXTRACTOR}


def training_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Entries that change fine-tuning, and no frame in evaluation mode."""
    return {f"config.{key}": config[key] for key in TRAINING if key in config}


def digest(settings: Any) -> str:
    """Hash of settings, 16 hex digits."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:16]
